from typing import Any

import pytest

from pier.cli import ps, run, stop
from pier.cli.flags import FlagError, HelpWanted, NotYet, Options, parse

FLAGS = (
    ("env", "e", "list", "x"),
    ("interactive", "i", "bool", "x"),
    ("name", "", "string", "x"),
    ("publish", "p", "list", "x"),
    ("size", "s", "int", "x"),
    ("small", "", "uint16", "x"),
    ("tty", "t", "bool", "x"),
    ("words", "", "strings", "x"),
)


def read(*args: str, **how: Any) -> tuple[Options, list[str]]:
    return parse(list(args), FLAGS, **how)


def test_the_ways_to_give_a_value() -> None:
    for args in (["-s5"], ["-s=5"], ["-s", "5"], ["--size=5"], ["--size", "5"], ["-its5"]):
        assert read(*args)[0].number("size") == 5
    options, rest = read("-it", "-e", "A=b", "--env=C", "image", "-x", interspersed=False)
    assert options.flag("interactive") and options.flag("tty") and options.many("env") == ["A=b", "C"]
    assert rest == ["image", "-x"]
    assert read("a", "-i", "--", "-t")[1] == ["a", "-t"]
    assert not read("-i=false")[0].flag("interactive") and not read("--tty=F")[0].flag("tty")
    assert read("--words=a,b", "--words", "c")[0].many("words") == ["a", "b", "c"]
    assert read("-s", "0x10")[0].number("size") == 16


def test_a_default_list_is_replaced_not_extended() -> None:
    assert read(defaults={"env": ["d"]})[0].many("env") == ["d"]
    assert read("-e", "x", "-e", "y", defaults={"env": ["d"]})[0].many("env") == ["x", "y"]


# the texts of docker 28.5
@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["-Z"], "unknown shorthand flag: 'Z' in -Z"),
        (["-itZ"], "unknown shorthand flag: 'Z' in -Z"),
        (["--name"], "flag needs an argument: --name"),
        (["-e"], "flag needs an argument: 'e' in -e"),
        (["--=x"], "bad flag syntax: --=x"),
        (["---x"], "bad flag syntax: ---x"),
        (["--tty=foo"], 'invalid argument "foo" for "-t, --tty" flag: strconv.ParseBool: parsing "foo": invalid syntax'),
        (["-s", "a"], 'invalid argument "a" for "-s, --size" flag: strconv.ParseInt: parsing "a": invalid syntax'),
        (["--small", "70000"], 'invalid argument "70000" for "--small" flag: strconv.ParseUint: parsing "70000": value out of range'),
    ],
)
def test_error_texts(args: list[str], text: str) -> None:
    with pytest.raises(FlagError) as caught:
        read(*args)
    assert str(caught.value) == text


def test_help_and_what_comes_later() -> None:
    with pytest.raises(HelpWanted) as wanted:
        read("--help")
    assert not wanted.value.deprecated
    with pytest.raises(HelpWanted) as wanted:
        read("-h")
    assert wanted.value.deprecated
    with pytest.raises(NotYet, match="--publish"):
        read("-p", "80", later=frozenset(["publish"]))


def test_hidden_names() -> None:
    assert parse(["--net", "host", "x"], run.FLAGS, hidden=run.HIDDEN, parsers=run.PARSERS)[0].many("network") == ["host"]
    assert parse(["--time", "3"], stop.FLAGS, hidden=stop.HIDDEN)[0].number("timeout") == 3
    with pytest.raises(FlagError, match="bad format of filter"):
        parse(["-f", "x"], ps.FLAGS, parsers=ps.PARSERS)
