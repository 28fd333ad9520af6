"""Request bodies as docker 28.5's client sent them to a recorder (data/create.json), and its refusals."""

import json
from pathlib import Path
from typing import Any

import pytest

from pier.cli import container_values as values
from pier.cli import run
from pier.cli.container_options import request
from pier.cli.flags import FlagError, parse
from pier.client import jsontext

RECORDED = json.loads((Path(__file__).parent / "data/create.json").read_text())
ENVIRON = {"HOME": "/root"}


def body(*args: str) -> dict[str, Any]:
    options, rest = parse(list(args), run.FLAGS, interspersed=False, defaults=run.DEFAULTS, parsers=run.PARSERS, later=run.LATER, hidden=run.HIDDEN)
    return request(options, rest[0], rest[1:], ENVIRON)


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: " ".join(case["args"])[:40])
def test_the_body_is_byte_for_byte_the_docker_clients(case: dict[str, Any]) -> None:
    assert jsontext.encode(body(*case["args"])) == case["body"]


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["-m", "x"], 'invalid argument "x" for "-m, --memory" flag: invalid size: \'x\''),
        (["-m", "1x"], 'invalid argument "1x" for "-m, --memory" flag: invalid suffix: \'x\''),
        (["--cpus", "abc"], 'invalid argument "abc" for "--cpus" flag: failed to parse abc as a rational number'),
        (["--cpus", "1.0000000001"], 'invalid argument "1.0000000001" for "--cpus" flag: value is too precise'),
        (["--ulimit", "foo"], 'invalid argument "foo" for "--ulimit" flag: invalid ulimit argument: foo'),
        (["--ulimit", "a=1"], 'invalid argument "a=1" for "--ulimit" flag: invalid ulimit type: a'),
        (["--ulimit", "nofile=5:2"], "ulimit soft limit must be less than or equal to hard limit: 5 > 2"),
        (["--mount", "type=foo"], 'invalid argument "type=foo" for "--mount" flag: target is required'),
        (["--mount", "foo"], "invalid field 'foo' must be a key=value pair"),
        (["--mount", "type=bind,src=/x,dst=/y,ro=foo"], "invalid value for ro: foo"),
        (["--mount", "type=bind,src=/x,dst=/y,foo=1"], "unexpected key 'foo' in 'foo=1'"),
        (["--mount", "type=tmpfs,dst=/y,tmpfs-size=x"], "invalid value for tmpfs-size: x"),
        (["--mount", "type=bind,src=/x,dst=/y,tmpfs-size=1m"], "cannot mix 'tmpfs-*' options with mount type 'bind'"),
        (["-e", "=a"], 'invalid argument "=a" for "-e, --env" flag: invalid environment variable: =a'),
        (["-l", "=a"], 'invalid argument "=a" for "-l, --label" flag: invalid label \'=a\': empty name'),
        (["--add-host", "foo"], 'invalid argument "foo" for "--add-host" flag: bad format for add-host: "foo"'),
        (["--dns", "foo"], 'invalid argument "foo" for "--dns" flag: IP address is not correctly formatted: foo'),
        (["--sysctl", "foo"], 'invalid argument "foo" for "--sysctl" flag: sysctl \'foo\' is not allowed'),
        (["-a", "foo"], 'invalid argument "foo" for "-a, --attach" flag: valid streams are STDIN, STDOUT and STDERR'),
    ],
)
def test_values_that_are_refused_at_once(args: list[str], text: str) -> None:
    with pytest.raises(FlagError) as caught:
        body(*args, "busybox")
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--device", "foo:bar:baz"], "bad mode specified: baz"),
        (["-v", "/a::/b"], "invalid spec: /a::/b: empty section between colons"),
        (["-v", ""], "invalid empty volume spec"),
        (["--rm", "--restart", "always"], "conflicting options: cannot specify both --restart and --rm"),
        (["--restart", "on-failure:x"], "invalid restart policy format: maximum retry count must be an integer"),
        (["--security-opt", "foo"], 'Invalid --security-opt: "foo"'),
        (["--security-opt", "seccomp=/nope"], "opening seccomp profile (/nope) failed: open /nope: no such file or directory"),
        (["--pid", "foo"], "--pid: invalid PID mode"),
        (["--uts", "foo"], "--uts: invalid UTS mode"),
        (["--memory-swappiness", "200"], "invalid value: 200. Valid memory swappiness range is 0-100"),
        (["--log-driver", "none", "--log-opt", "a=b"], "invalid logging opts for driver none"),
        (["--mac-address", "foo"], "foo is not a valid mac address"),
    ],
)
def test_what_the_flags_say_together(args: list[str], text: str) -> None:
    with pytest.raises(ValueError) as caught:
        body(*args, "busybox")
    assert str(caught.value) == text


def test_networks() -> None:
    first = "name=mine,alias=a,alias=b,ip=10.0.0.9,gw-priority=3"
    made = body("--network", first, "--network", "other", "--mac-address", "02:00:00:00:00:01", "busybox")
    assert made["HostConfig"]["NetworkMode"] == "mine"
    mine, other = (made["NetworkingConfig"]["EndpointsConfig"][name] for name in ("mine", "other"))
    assert (mine["Aliases"], mine["IPAMConfig"], mine["GwPriority"]) == (["a", "b"], {"IPv4Address": "10.0.0.9"}, 3)
    assert (mine["MacAddress"], other["MacAddress"], other["IPAMConfig"]) == ("02:00:00:00:00:01", "", None)
    made = body("--network", "mine", "--network-alias", "web", "--ip", "10.0.0.9", "--ip6", "fd00::9", "busybox")
    mine = made["NetworkingConfig"]["EndpointsConfig"]["mine"]
    assert (mine["Aliases"], mine["IPAMConfig"]) == (["web"], {"IPv4Address": "10.0.0.9", "IPv6Address": "fd00::9"})
    assert body("--network", "bridge", "busybox")["NetworkingConfig"]["EndpointsConfig"] == {}


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--network", "a", "--network", "a"], 'network "a" is specified multiple times'),
        (["--network", "a", "--network", "host"], "conflicting options: cannot attach both user-defined and non-user-defined network-modes"),
        (["--network", "name=a,ip=10.0.0.1", "--ip", "10.0.0.2"], "conflicting options: cannot specify both --ip and per-network IPv4 address"),
        (
            ["--network", "name=a,alias=x", "--network-alias", "y"],
            "conflicting options: cannot specify both --network-alias and per-network network aliases",
        ),
    ],
)
def test_networks_that_make_no_sense(args: list[str], text: str) -> None:
    with pytest.raises(ValueError) as caught:
        body(*args, "busybox")
    assert str(caught.value) == text


def test_links_go_to_the_network_of_a_user_too() -> None:
    assert body("--link", "db", "busybox")["HostConfig"]["Links"] == ["db"]
    made = body("--link", "db:x", "--network", "shop", "busybox")
    assert (made["HostConfig"]["Links"], made["NetworkingConfig"]["EndpointsConfig"]["shop"]["Links"]) == (["db:x"], ["db:x"])
    with pytest.raises(ValueError, match='invalid argument "a:b:c" for "--link" flag: bad format for links: a:b:c'):
        body("--link", "a:b:c", "busybox")


def test_a_field_of_network_with_a_comma_is_quoted() -> None:
    made = body("--network", 'name=shop,"driver-opt=k=a=1,b=2",alias=x', "busybox")["NetworkingConfig"]["EndpointsConfig"]["shop"]
    assert (made["DriverOpts"], made["Aliases"]) == ({"k": "a=1,b=2"}, ["x"])


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_bytes(b"\xef\xbb\xbf# c\nA=1\n\nHOME\nUNSET\n B=x y \r\n")
    assert values.key_value_file(str(path), ENVIRON) == ["A=1", "HOME=/root", "B=x y "]
    for content, text in (
        (b"=x\n", "no variable name on line '=x'"),
        (b"a b=c\n", "variable 'a b' contains whitespaces"),
        (b"A=\xff\n", "invalid utf8"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=text):
            values.key_value_file(str(path), ENVIRON)


def test_sizes() -> None:
    found = [values.memory(text) for text in ("64m", "1.5g", "10", "1KiB", "2kb", "3 M")]
    assert found == [64 << 20, 3 << 29, 10, 1024, 2048, 3 << 20]
    assert values.memory_swap("-1") == -1
    assert [values.decimal_cpus(text) for text in ("1.5", "0.01", "2", "1/2", ".5")] == [1500000000, 10**7, 2 * 10**9, 5 * 10**8, 5 * 10**8]
