"""Addresses of daemons behind ssh, and the command lines that they become."""

import pytest

from pier.client import ssh


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ssh://box", ["--", "box", "pier ps"]),
        ("ssh://me@box:2222", ["-l", "me", "-p", "2222", "--", "box", "pier ps"]),
        ("ssh://[fe80::1%eth0]:22/run/p.sock", ["-p", "22", "--", "fe80::1%eth0", "pier ps"]),
        ("ssh://[::1]", ["--", "::1", "pier ps"]),
    ],
)
def test_command_lines(address: str, words: list[str]) -> None:
    assert ssh.command(ssh.parse(address), ["ps"]) == ["ssh", "-o", "ConnectTimeout=30", "-T", *words]


def test_what_is_run_there_is_one_word_each() -> None:
    address = ssh.parse("ssh://box/tmp/a b;c")
    assert address.path == "tmp/a b;c" and str(address) == "ssh://box"
    assert ssh.command(address, ["--host", f"unix:///{address.path}"])[-1] == "pier --host 'unix:///tmp/a b;c'"


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("tcp://box", "it is not ssh://"),
        ("ssh://", "no name of a host"),
        ("ssh://-oProxyCommand=x", "no name of a host"),
        ("ssh://me@-x", "no name of a host"),
        ("ssh://a b", "no name of a host"),
        ("ssh://a:b:c", "no name of a host"),
        ("ssh://box:x", "is no port"),
        ("ssh://box:0", "is no port"),
        ("ssh://box:70000", "is no port"),
        ("ssh://@box", "no name of a user"),
        ("ssh://-l@box", "no name of a user"),
        ("ssh://me:secret@box", "plain-text password is not supported"),
    ],
)
def test_what_is_no_address(address: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as raised:
        ssh.parse(address)
    assert "secret" not in str(raised.value)
