"""Mounting as mount(8) does, with a program of our own in its place."""

import io
import os
import time
from pathlib import Path

import pytest

from pier.errors import Internal
from pier.volumes import local as module
from pier.volumes.local import Local
from pier.volumes.options import Filesystem
from tests.harness.commands import eventually

SHARE = Filesystem("nfs", "server:/share", "addr=10.0.0.1,ro")


@pytest.fixture
def local(tmp_path: Path) -> Local:
    made = Local(tmp_path / "volumes")
    made.create("far")
    return made


def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = tmp_path / "bin/mount"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")


def test_a_server_that_does_not_answer_is_a_timeout_and_its_helper_goes(local: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, f"sleep 60 & echo $! > {tmp_path}/helper; wait")
    monkeypatch.setattr(module, "MOUNT_PATIENCE_S", 0.5)
    begun = time.monotonic()
    with pytest.raises(Internal) as told:
        local.mount("far", SHARE)
    assert str(told.value) == (
        "volume far: server:/share (type nfs, options addr=10.0.0.1,ro) does not answer within 0.5 s: is its server there?"
    )
    assert time.monotonic() - begun < 5
    helper = Path(f"/proc/{(tmp_path / 'helper').read_text().strip()}")
    eventually(lambda: not helper.exists() or "State:\tZ" in (helper / "status").read_text(), says="the helper is gone")


def test_a_mount_that_is_refused_says_why(local: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, 'echo "mount.nfs: access denied" >&2; exit 32')
    with pytest.raises(Internal, match=r"volume far: mount server:/share [(]nfs[)]: mount[.]nfs: access denied"):
        local.mount("far", SHARE)


def test_words_are_arguments_and_never_a_shells(local: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, f'printf "%s\\n" "$@" > {tmp_path}/words')
    local.mount("far", Filesystem("nfs", "-o; touch /tmp/x", "a=$(id)"))
    words = (tmp_path / "words").read_text().splitlines()
    assert words == ["-t", "nfs", "-o", "a=$(id)", "--", "-o; touch /tmp/x", str(local.path("far"))]


def test_what_is_mounted_is_seen_behind_a_data_root_that_is_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise each start would mount once more, no end would unmount, and a removal would go through the mount."""
    real = tmp_path / "the\\disk of\tdata"
    real.mkdir()
    (tmp_path / "data").symlink_to(real)
    local = Local(tmp_path / "data/volumes")
    local.create("far")
    shown = str(real / "volumes/far/_data").replace("\\", r"\134").replace(" ", r"\040").replace("\t", r"\011")
    lines = [f"325 380 0:115 / {shown}{more} rw,relatime - nfs4 server:/share rw\n".encode() for more in ("x", "/below")]
    for mounted in (False, True):
        listed = b"".join([*lines, *([lines[0].replace(b"x rw", b" rw")] if mounted else [])])
        monkeypatch.setattr(module, "open", lambda *_, listed=listed: io.BytesIO(listed), raising=False)
        assert local.is_mounted("far") is mounted
