"""load: what is sent, and what cannot be."""

import os
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.harness.terminal import Terminal
from tests.unit.client.fake_daemon import FakeDaemon, stream

from .command import call, program

LOADED = {"POST /images/load": stream({"stream": "Loaded image: app:latest\n"})}


@pytest.mark.parametrize(
    ("args", "query"),
    [
        ([], "quiet=1"),
        (["-q"], "quiet=1"),
        (["--platform", "linux/arm64"], 'platform={"architecture":"arm64","os":"linux"}&quiet=1'),
    ],
)
def test_an_archive(tmp_path: Path, args: list[str], query: str) -> None:
    (tmp_path / "image.tar").write_bytes(b"archive" * 100_000)
    daemon = FakeDaemon(tmp_path, LOADED)
    assert call(daemon, "load", *args, "-i", str(tmp_path / "image.tar")) == (0, "Loaded image: app:latest\n", "")
    assert unquote(daemon.requests()[0]) == f"POST /images/load?{query}" and daemon.seen[-1][1] == b"archive" * 100_000


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["-i", "{folder}/none"], "open {folder}/none: no such file or directory"),
        (["-i", "{folder}"], "read {folder}: is a directory"),
        (["--platform", "bogus"], 'invalid platform: "bogus": unknown operating system or architecture: invalid argument'),
    ],
)
def test_mistakes(tmp_path: Path, args: list[str], text: str) -> None:
    daemon = FakeDaemon(tmp_path, LOADED)
    words = [word.format(folder=tmp_path) for word in args]
    assert call(daemon, "load", *words) == (1, "", text.format(folder=tmp_path) + "\n") and daemon.requests() == []


def test_a_terminal_is_no_archive() -> None:
    with Terminal([*program(), "load"], {"HOME": "/nonexistent", "PATH": os.environ["PATH"]}) as terminal:
        terminal.expect("requested load from stdin, but stdin is empty")
        assert terminal.wait() == 1
