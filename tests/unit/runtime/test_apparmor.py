"""The profile's text; where a parser is there, that it takes it."""

import shutil
import subprocess

import pytest

from pier.errors import Unavailable
from pier.runtime import apparmor


def test_the_profile_names_itself_in_its_rules() -> None:
    text = apparmor.text("mine", "daemon")
    assert "profile mine flags=" in text and "signal (receive) peer=daemon," in text and "ptrace (trace,read,tracedby,readby) peer=mine," in text
    assert text.count("{") == text.count("}")


def test_the_parser_takes_the_profile() -> None:
    parser = shutil.which("apparmor_parser", path="/usr/sbin:/sbin")
    if parser is None:
        pytest.skip("no apparmor_parser here")
    done = subprocess.run([parser, "-QKS"], input=apparmor.text(), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_a_host_without_the_parser_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(Unavailable, match="Debian package apparmor"):
        apparmor.load()
    assert not apparmor.loaded("no-such-profile")
