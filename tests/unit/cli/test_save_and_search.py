"""save and search: what is asked, what is written, what is refused."""

import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest

from tests.harness.commands import eventually
from tests.harness.terminal import Terminal
from tests.unit.client.fake_daemon import FakeDaemon, reply

from .command import call, program

TAR = reply(200, b"the archive", "Content-Type: application/x-tar\r\n")
NOT_FOUND = reply(404, {"message": "No such image: app:latest"})


def cut(_: FakeDaemon, connection: socket.socket, *__: Any) -> bool:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n")
    return False


@pytest.mark.parametrize("command", [["save"], ["image", "save"]])
def test_to_stdout(tmp_path: Path, command: list[str]) -> None:
    daemon = FakeDaemon(tmp_path, {"GET /images/get": TAR})
    assert call(daemon, *command, "app", "other:1") == (0, "the archive", "")
    assert unquote_plus(daemon.requests()[0]) == "GET /images/get?names=app&names=other:1"


def test_to_a_file_of_a_platform(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path, {"GET /images/get": TAR})
    path = tmp_path / "out.tar"
    path.write_text("old")
    assert call(daemon, "save", "-o", str(path), "--platform", "linux/arm64", "app") == (0, "", "")
    assert path.read_text() == "the archive" and path.stat().st_mode & 0o777 == 0o600
    assert unquote_plus(daemon.requests()[0]) == 'GET /images/get?names=app&platform={"architecture":"arm64","os":"linux"}'
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fake.sock", "out.tar"]


@pytest.mark.parametrize(
    ("answer", "err"),
    [(NOT_FOUND, "Error response from daemon: No such image: app:latest\n"), (cut, "the daemon's answer broke off: unexpected EOF\n")],
)
def test_what_fails_leaves_the_old_file(tmp_path: Path, answer: Any, err: str) -> None:
    daemon = FakeDaemon(tmp_path, {"GET /images/get": answer})
    path = tmp_path / "out.tar"
    path.write_text("old")
    assert call(daemon, "save", "-o", str(path), "app") == (1, "", err)
    assert path.read_text() == "old" and sorted(p.name for p in tmp_path.iterdir()) == ["fake.sock", "out.tar"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_is_interrupted_leaves_nothing(tmp_path: Path, number: int) -> None:
    begun = threading.Event()

    def slow(_: FakeDaemon, connection: socket.socket, *__: Any) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n")
        begun.set()
        connection.recv(1)
        return False

    daemon = FakeDaemon(tmp_path, {"GET /images/get": slow})
    env = {"DOCKER_HOST": daemon.host, "HOME": "/nonexistent"}
    process = subprocess.Popen([*program(), "save", "-o", str(tmp_path / "out.tar"), "app"], env=env, stderr=subprocess.PIPE)
    assert begun.wait(20)
    here = f"{tmp_path}/"
    eventually(lambda: any(os.readlink(fd).startswith(here) for fd in Path(f"/proc/{process.pid}/fd").iterdir()), says="the file is begun")
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130 if number == signal.SIGINT else -number, b"")
    assert [p.name for p in tmp_path.iterdir()] == ["fake.sock"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("none/out.tar", "invalid output path: stat {base}/none: no such file or directory"),
        (".", "cannot write to a directory"),
        ("link", "cannot write to a symbolic link directly"),
        ("pipe", "cannot write to a named pipe"),
        ("/dev/null", "cannot write to a character device file"),
    ],
)
def test_what_is_no_place_for_an_archive(tmp_path: Path, path: str, text: str) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    where = path if path.startswith("/") else f"{tmp_path}/{path}"
    assert call(None, "save", "-o", where, "app") == (1, "", f"failed to save image: {text.format(base=tmp_path)}\n")


def test_a_terminal_gets_no_archive() -> None:
    with Terminal([*program(), "save", "app"], {"HOME": "/nonexistent", "PATH": os.environ["PATH"]}) as terminal:
        terminal.expect("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        assert terminal.wait() == 1


def test_a_platform_that_is_none() -> None:
    text = 'invalid platform: "bogus": unknown operating system or architecture: invalid argument\n'
    assert call(None, "save", "--platform", "bogus", "app") == (1, "", text)


# search

LONG = "An app that has a description of more than 45 letters"
FOUND = [
    {"star_count": 10, "is_official": True, "name": "app", "is_automated": False, "description": LONG},
    {"star_count": 1, "is_official": False, "name": "bob/app", "is_automated": True, "description": "two\nlines"},
]


@pytest.mark.parametrize(
    ("args", "query"),
    [
        ([], "term=app"),
        (["--limit", "5"], "limit=5&term=app"),
        (["--limit", "0"], "term=app"),
        (["-f", "stars=3", "-f", "is-official=true"], 'filters={"is-official":{"true":true},"stars":{"3":true}}&term=app'),
    ],
)
def test_what_is_looked_for(tmp_path: Path, args: list[str], query: str) -> None:
    daemon = FakeDaemon(tmp_path, {"GET /images/search": FOUND})
    assert call(daemon, "search", *args, "app") == (
        0,
        "NAME      DESCRIPTION                                     STARS     OFFICIAL\n"
        "app       An app that has a description of more than 4…   10        [OK]\n"
        "bob/app   two lines                                       1         \n",
        "",
    )
    assert unquote_plus(daemon.requests()[0]) == f"GET /images/search?{query}"


@pytest.mark.parametrize(
    ("form", "out"),
    [
        ("{{.Name}} {{.StarCount}} {{.IsOfficial}}", "app 10 [OK]\nbob/app 1 \n"),
        ("table {{.Name}}\t{{.StarCount}}", "NAME      STARS\napp       10\nbob/app   1\n"),
        ("json", None),
    ],
)
def test_in_other_forms(tmp_path: Path, form: str, out: str | None) -> None:
    status, shown, _ = call(FakeDaemon(tmp_path, {"GET /images/search": FOUND}), "search", "--no-trunc", "--format", form, "app")
    assert status == 0
    if out is None:
        rows = [json.loads(one) for one in shown.splitlines()]
        assert rows[0] == {"Description": LONG, "IsOfficial": "true", "Name": "app", "StarCount": "10"}
        assert rows[1]["IsOfficial"] == "false"
    else:
        assert shown == out


def test_the_login_of_the_registry_that_is_searched(tmp_path: Path) -> None:
    auths = {"reg.example": {"auth": "Ym9iOng="}, "https://index.docker.io/v1/": {"auth": "aHViOng="}}
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
    daemon = FakeDaemon(tmp_path, {"GET /images/search": []})
    for term, user in (("reg.example/app", "bob"), ("app", "hub"), ("bob/app", "hub")):
        daemon.seen.clear()
        daemon.headers.clear()
        call(daemon, "search", term, DOCKER_CONFIG=str(tmp_path))
        assert daemon.registry_auth("GET /images/search")["username"] == user


@pytest.mark.parametrize(
    ("args", "status", "err"),
    [
        (["--format", "{{.Bogus}}", "app"], 1, 'template parsing error: template: :1:2: executing "" at <.Bogus>: can\'t evaluate field Bogus in'),
        (["--format", "{{", "app"], 1, "template parsing error: template: :1: unclosed action\n"),
        (["-f", "x", "app"], 125, 'invalid argument "x" for "-f, --filter" flag: bad format of filter (expected name=value)\n'),
        (["a", "b"], 1, "pier: 'pier search' requires 1 argument\n"),
    ],
)
def test_search_refuses(tmp_path: Path, args: list[str], status: int, err: str) -> None:
    daemon = FakeDaemon(tmp_path, {"GET /images/search": FOUND})
    code, out, said = call(daemon, "search", *args)
    assert (code, out) == (status, "") and said.startswith(err)
