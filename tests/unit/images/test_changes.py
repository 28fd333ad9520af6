"""`--change`: what an engine of 28.5 made of the same instructions, recorded, and its words for what is wrong."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.errors import PierError
from pier.images import words
from pier.images.changes import apply
from pier.images.inspect import config_fields
from pier.oci.image_config import ContainerDefaults

GOOD: list[tuple[list[str], dict[str, Any]]] = [
    (["CMD x y"], {"Cmd": ["/bin/sh", "-c", "x y"]}),
    (['CMD ["a","b"]'], {"Cmd": ["a", "b"]}),
    (["cmd echo $HOME"], {"Cmd": ["/bin/sh", "-c", "echo $HOME"]}),
    (["CMD []"], {}),
    (["CMD"], {"Cmd": ["/bin/sh", "-c"]}),
    (["CMD ['a']"], {"Cmd": ["/bin/sh", "-c", "['a']"]}),
    (["CMD x \\\n y"], {"Cmd": ["/bin/sh", "-c", "x  y"]}),
    (['ENTRYPOINT ["e"]'], {"Entrypoint": ["e"]}),
    (["CMD c", "ENTRYPOINT e"], {"Cmd": ["/bin/sh", "-c", "c"], "Entrypoint": ["/bin/sh", "-c", "e"]}),
    (["ENV a=b c=\"d e\" f='g h'"], {"Env": ["a=b", "c=d e", "f=g h"]}),
    (["ENV a b c"], {"Env": ["a=b c"]}),
    (["ENV A=1", "ENV B=$A-${A}-${X:-d}-${A:+y}-${X+z}-\\$A"], {"Env": ["A=1", "B=1-1-d-y--$A"]}),
    (["ENV A=1 B=$A"], {"Env": ["A=1", "B="]}),
    (["ENV A=x", "ENV A=y Z=1"], {"Env": ["A=y", "Z=1"]}),
    (["EXPOSE 80"], {"ExposedPorts": {"80/tcp": {}}}),
    (["EXPOSE 80/udp 81 90-92/tcp"], {"ExposedPorts": {"80/udp": {}, "81/tcp": {}, "90/tcp": {}, "91/tcp": {}, "92/tcp": {}}}),
    (["EXPOSE 1.2.3.4:80:81"], {"ExposedPorts": {"81/tcp": {}}}),
    (["ENV P=99", "EXPOSE $P"], {"Env": ["P=99"], "ExposedPorts": {"99/tcp": {}}}),
    (['LABEL a=b c="d e"'], {"Labels": {"a": "b", "c": "d e"}}),
    (["LABEL a b"], {"Labels": {"a": "b"}}),
    (["USER 1000:1000"], {"User": "1000:1000"}),
    (["VOLUME /a /b"], {"Volumes": {"/a": {}, "/b": {}}}),
    (['VOLUME ["/a","/b c"]'], {"Volumes": {"/a": {}, "/b c": {}}}),
    (["WORKDIR /a/b/"], {"WorkingDir": "/a/b"}),
    (["WORKDIR a", "WORKDIR b"], {"WorkingDir": "/a/b"}),
    (["STOPSIGNAL SIGKILL"], {"StopSignal": "SIGKILL"}),
    (["STOPSIGNAL 9"], {"StopSignal": "9"}),
    (["HEALTHCHECK NONE"], {"Healthcheck": {"Test": ["NONE"]}}),
    (
        ['HEALTHCHECK --interval=5s --retries=3 --timeout=1m30s --start-period=2s --start-interval=1s CMD ["a"]'],
        {"Healthcheck": {"Test": ["CMD", "a"], "Interval": 5 * 10**9, "Timeout": 90 * 10**9, "StartPeriod": 2 * 10**9, "StartInterval": 10**9,
                         "Retries": 3}},
    ),
    (["HEALTHCHECK CMD x y"], {"Healthcheck": {"Test": ["CMD-SHELL", "x y"]}}),
    (["ONBUILD RUN x"], {"OnBuild": ["RUN x"]}),
]  # fmt: skip
BAD = [
    ("RUN x", "RUN is not a valid change command"),
    ("run x", "run is not a valid change command"),
    ('SHELL ["a"]', "SHELL is not a valid change command"),
    ("", "file with no instructions"),
    ("ENV a", "ENV must have two arguments"),
    ("ENV", "ENV requires at least one argument"),
    ("ENV a=b c", 'Syntax error - can\'t find = in "c". Must be of the form: name=value'),
    ("ENV =x", "ENV names can not be blank"),
    ("EXPOSE abc", "Invalid containerPort: abc"),
    ("EXPOSE 70000", "Invalid containerPort: 70000"),
    ("EXPOSE 80/foo", "Invalid proto: foo"),
    ("EXPOSE 92-90", "Invalid containerPort: 92-90"),
    ("EXPOSE", "EXPOSE requires at least one argument"),
    ("USER", "USER requires exactly one argument"),
    ('VOLUME ""', "VOLUME specified can not be an empty string"),
    ("STOPSIGNAL foo", "invalid signal: foo"),
    ("STOPSIGNAL 0", "invalid signal: 0"),
    ("HEALTHCHECK foo", 'Unknown type "FOO" in HEALTHCHECK (try CMD)'),
    ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
    ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
    ("HEALTHCHECK --interval=x CMD y", 'time: invalid duration "x"'),
    ("HEALTHCHECK --interval=1us CMD y", 'Interval "interval" cannot be less than 1ms'),
    ("HEALTHCHECK --retries=-1 CMD y", "--retries cannot be negative (-1)"),
    ("HEALTHCHECK --foo=1 CMD y", "unknown flag: --foo"),
    ("HEALTHCHECK --interval CMD y", "missing a value on flag: --interval"),
    ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
    ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
    ('CMD ["a", 1]', "when using JSON array syntax, arrays must be comprised of strings only"),
    ("ENV a=${b%c}", "the substitution ${b%...} is not supported by Pier yet"),
]


def said(config: ContainerDefaults) -> dict[str, Any]:
    return {name: value for name, value in config_fields(config).items() if value}


@pytest.mark.parametrize(("changes", "expected"), GOOD)
def test_changes_are_what_the_reference_makes_of_them(changes: list[str], expected: dict[str, Any]) -> None:
    config = ContainerDefaults()
    apply(config, changes)
    assert said(config) == expected


@pytest.mark.parametrize(("change", "why"), BAD)
def test_bad_changes_are_refused_in_its_words(change: str, why: str) -> None:
    with pytest.raises(PierError) as caught:
        apply(ContainerDefaults(), [change])
    assert str(caught.value) == why and caught.value.status == 400


def test_an_entrypoint_drops_the_command_that_was_there_before() -> None:
    config = ContainerDefaults(cmd=["old"], env=["A=1"])
    apply(config, ["ENTRYPOINT x", "ENV B=${A}"])
    assert config.cmd is None and config.env == ["A=1", "B=1"]


def test_lines() -> None:
    assert words.logical_lines("A b\\\n# comment\n  c\n\n# x\nD") == ["A b  c", "D"]
    assert words.logical_lines("a\\") == ["a"] and words.logical_lines("#x") == []


@given(st.sampled_from([case[0][0].split()[0] for case in GOOD if case[0][0]]), st.text(alphabet=string.printable, max_size=30))
def test_any_instruction_is_carried_out_or_refused(instruction: str, rest: str) -> None:
    try:
        apply(ContainerDefaults(env=["A=1"]), [f"{instruction} {rest}"])
    except PierError:
        return


@given(st.text(alphabet="ab ${}:-+?'\"\\", max_size=20))
def test_any_word_is_expanded_or_refused(text: str) -> None:
    try:
        assert isinstance(words.expand(text, {"a": "1"}), str)
    except PierError:
        return
