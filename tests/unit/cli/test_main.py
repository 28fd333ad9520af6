"""Whole command lines in processes of their own, against a daemon made of a table of answers."""

import fcntl
import os
import pty
import select
import socket
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import pier.cli
from tests.unit.client.fake_daemon import FakeDaemon, reply

SOURCE = Path(pier.cli.__file__).parent.parent.parent
PROGRAM = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(SOURCE)!r}); from pier.cli.main import main; main()"]
ID = "ab" * 32


def call(daemon: FakeDaemon | None, *args: str, stdin: bytes = b"", **env: Any) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of one command line."""
    done = subprocess.run(
        [*PROGRAM, *args],
        input=stdin,
        capture_output=True,
        env={"HOME": "/nonexistent", **({"DOCKER_HOST": daemon.host} if daemon else {}), **env},
        timeout=30,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


class Container:
    """Routes of a container that runs: its output is framed (or raw), it ends when its input does."""

    def __init__(self, status: int = 0, raw: bool = False, start: bytes | None = None, echo: bool = True) -> None:
        self.status, self.raw, self.echo = status, raw, echo
        self.start_answer = start or reply(204)
        self.started, self.ended = threading.Event(), threading.Event()
        self.received = b""

    def routes(self) -> dict[str, Any]:
        return {
            "POST /containers/create": reply(201, {"Id": ID, "Warnings": ["careful"]}),
            f"POST /containers/{ID}/attach": self.attach,
            f"POST /containers/{ID}/wait": self.wait,
            f"POST /containers/{ID}/start": self.start,
            f"POST /containers/{ID}/resize": reply(200),
            f"POST /containers/{ID}/kill": self.kill,
        }

    def attach(self, daemon: FakeDaemon, connection: socket.socket, target: str, *_: Any) -> bool:
        connection.sendall(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n" + (b"early " if self.raw else frame(1, b"early ")))
        self.started.wait(10)
        if not self.raw:
            connection.sendall(frame(1, b"out\n") + frame(2, b"err\n"))
        while "stdin=1" in target and not self.ended.is_set():
            data = connection.recv(4096)
            if not data:
                break
            self.received += data
            if self.echo:
                connection.sendall(data.upper() if self.raw else frame(1, data.upper()))
            if self.raw and b"\x03" in data:
                break
        self.ended.set()
        return False

    def wait(self, daemon: FakeDaemon, connection: socket.socket, *_: Any) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.ended.wait(10)
        body = f'{{"StatusCode":{self.status}}}\n'.encode()
        connection.sendall(f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
        return True

    def start(self, daemon: FakeDaemon, connection: socket.socket, *_: Any) -> bool:
        connection.sendall(self.start_answer)
        (self.started if b" 204 " in self.start_answer else self.ended).set()
        self.started.set()
        return True

    def kill(self, daemon: FakeDaemon, connection: socket.socket, *_: Any) -> bool:
        connection.sendall(reply(204))
        self.ended.set()
        return True


def test_run_in_order_with_streams_and_exit_status(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path, Container(status=3).routes())
    assert call(daemon, "run", "--rm", "busybox", "sh") == (3, "early out\n", "WARNING: careful\nerr\n")
    asked = [line.partition("?")[0].rpartition("/")[2] for line in daemon.requests()]
    # attach and wait go out on two connections at once: what counts is that both are there before the start
    assert (asked[0], sorted(asked[1:3]), asked[3:]) == ("create", ["attach", "wait"], ["start"])
    assert daemon.requests()[1 + asked[1:3].index("wait")].endswith("?condition=removed")
    assert daemon.body("POST /containers/create")["HostConfig"]["AutoRemove"] is True


def test_the_end_of_stdin_reaches_the_container(tmp_path: Path) -> None:
    container = Container()
    daemon = FakeDaemon(tmp_path, container.routes())
    data = b"x" * 300_000
    status, out, _ = call(daemon, "run", "-i", "busybox", "cat", stdin=data)
    assert (status, container.received) == (0, data)
    assert out == "early out\n" + "X" * 300_000


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ('exec: "nope": executable file not found in $PATH', 127),
        ('exec: "/etc": is a directory: permission denied', 126),
        ("no space left on device", 125),
    ],
)
def test_what_could_not_start(tmp_path: Path, message: str, status: int) -> None:
    daemon = FakeDaemon(tmp_path, Container(start=reply(400, {"message": message})).routes())
    code, _, err = call(daemon, "run", "--rm", "busybox", "nope")
    assert (code, err) == (status, f"WARNING: careful\npier: Error response from daemon: {message}\n\nRun 'pier run --help' for more information\n")


def test_detached_prints_the_id_and_the_cidfile_has_it(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path, Container().routes())
    cidfile = tmp_path / "cid"
    assert call(daemon, "run", "-d", "--cidfile", str(cidfile), "busybox") == (0, ID + "\n", "WARNING: careful\n")
    assert cidfile.read_text() == ID
    status, _, err = call(daemon, "run", "-d", "--cidfile", str(cidfile), "busybox")
    assert status == 125 and err.startswith("pier: container ID file found, make sure the other container isn't running or delete")
    status, _, err = call(daemon, "create", "--cidfile", str(cidfile), "busybox")
    assert (status, err) == (1, f"container ID file found, make sure the other container isn't running or delete {cidfile}\n")


def test_a_missing_image_names_the_way_out(tmp_path: Path) -> None:
    routes = {
        "POST /containers/create": reply(404, {"message": "No such image: nope:1"}),
        "POST /images/create": reply(404, {"message": "pull access denied for nope"}),
    }
    daemon = FakeDaemon(tmp_path, routes)
    status, _, err = call(daemon, "run", "nope:1")
    assert status == 125
    assert err.startswith("Unable to find image 'nope:1' locally\npier: Error response from daemon: pull access denied for nope")
    status, _, err = call(daemon, "run", "--pull", "never", "nope:1")
    assert (status, err.splitlines()[0]) == (125, "pier: Error response from daemon: No such image: nope:1")
    assert "No such image" in err and sum("images/create" in line for line in daemon.requests()) == 1


@pytest.mark.parametrize(
    ("args", "status", "start"),
    [
        (["run", "--gpus", "all", "x"], 125, "pier: --gpus is not supported by Pier yet"),
        (["build", "."], 1, "pier: 'pier build' is not supported by Pier yet"),
        (["container", "cp"], 1, "pier: 'pier container cp' is not supported by Pier yet"),
        (["nope"], 1, "pier: unknown command: pier nope\n\nRun 'pier --help' for more information"),
        (["container", "nope"], 1, "pier: unknown command: pier container nope\n\nUsage:  pier container\n\nRun 'pier container --help'"),
        (["ps", "x"], 1, "pier: 'pier ps' accepts no arguments\n\nUsage:  pier ps [OPTIONS]\n\nRun 'pier ps --help' for more information"),
        (["rm"], 1, "pier: 'pier rm' requires at least 1 argument\n\nUsage:  pier rm [OPTIONS] CONTAINER [CONTAINER...]\n\nSee 'pier rm"),
        (["rename", "a"], 1, "pier: 'pier rename' requires 2 arguments"),
        (["run", "--nope", "x"], 125, "unknown flag: --nope\n\nUsage:  pier run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun 'pier run --help'"),
        (["run", "UPPER"], 125, "pier: invalid reference format: repository name (library/UPPER) must be lowercase"),
        (["run", "-it", "x"], 1, "the input device is not a TTY"),
        (["run", "-d", "-a", "stdin", "x"], 1, "conflicting options: cannot specify both --attach and --detach"),
        (["--tls", "ps"], 125, "--tls is not supported by Pier yet"),
        (["-H", "ssh://-x", "ps"], 1, "Failed to initialize: unable to resolve docker endpoint: ssh://-x: no name of a host in it"),
        (["-H", "foo://x", "ps"], 1, "Failed to initialize: unable to resolve docker endpoint: invalid bind address format: foo://x"),
        (["-c", "nope", "ps"], 1, 'Failed to initialize: unable to resolve docker endpoint: context "nope": context not found'),
    ],
)
def test_refusals(args: list[str], status: int, start: str) -> None:
    code, out, err = call(None, *args, PIER_AUTOSTART="0")
    assert (code, out) == (status, "")
    assert err.startswith(start)


def test_which_daemon(tmp_path: Path) -> None:
    answer: dict[str, Any] = {"GET /containers/json": []}
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    one, two = (FakeDaemon(folder, answer) for folder in folders)
    config: dict[str, Any] = {"DOCKER_CONFIG": str(tmp_path / "config")}
    call(one, "ps", PIER_HOST=two.host)
    assert (one.requests(), len(two.requests())) == ([], 1)
    call(one, "-H", two.host, "ps")
    assert (one.requests(), len(two.requests())) == ([], 2)
    assert call(None, "context", "create", "two", "--docker", f"host={two.host}", **config)[:2] == (0, "two\n")
    call(one, "-c", "two", "ps", **config)
    assert (one.requests(), len(two.requests())) == ([], 3)
    call(None, "ps", DOCKER_CONTEXT="two", **config)
    assert len(two.requests()) == 4
    assert call(None, "context", "use", "two", **config)[0] == 0
    call(None, "ps", **config)
    assert len(two.requests()) == 5
    call(one, "ps", **config)
    assert (len(one.requests()), len(two.requests())) == (1, 5)


def test_no_daemon_is_started_where_another_was_named(tmp_path: Path) -> None:
    status, _, err = call(None, "-H", f"unix://{tmp_path}/no.sock", "ps")
    assert (status, err) == (1, f"Cannot connect to the Pier daemon at unix://{tmp_path}/no.sock. Is the pier daemon running?\n")


def test_filters_and_failures_of_some(tmp_path: Path) -> None:
    def stop(_: FakeDaemon, connection: socket.socket, target: str, *__: Any) -> bool:
        connection.sendall(reply(204))
        return True

    routes = {
        "GET /containers/json": [],
        "POST /containers/a/stop": stop,
        "POST /containers/b/stop": reply(404, {"message": "No such container: b"}),
        "POST /containers/c/stop": stop,
    }
    daemon = FakeDaemon(tmp_path, routes)
    assert call(daemon, "ps", "-a", "-f", "name=x", "-f", "status=running", "-f", "name=y")[0] == 0
    assert daemon.requests() == [
        "GET /containers/json?all=1&filters=%7B%22name%22%3A%7B%22x%22%3Atrue%2C%22y%22%3Atrue%7D%2C%22status%22%3A%7B%22running%22%3Atrue%7D%7D"
    ]
    assert call(daemon, "stop", "-t", "5", "a", "b", "c") == (1, "a\nc\n", "Error response from daemon: No such container: b\n")
    assert daemon.requests()[1] == "POST /containers/a/stop?t=5"


def test_a_reader_that_leaves_is_no_traceback(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path, {"GET /containers/json": [{"Id": ID, "Names": ["/n"], "Created": 1}] * 3000})
    process = subprocess.Popen([*PROGRAM, "ps"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"DOCKER_HOST": daemon.host, "HOME": "/"})
    assert process.stdout and process.stderr
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def on_terminal(daemon: FakeDaemon, args: list[str], typed: bytes, after: bytes) -> tuple[int, bytes, bool]:
    """Run on a terminal of its own, type `typed` when `after` was shown: (exit status, what was shown, whether it was restored)."""
    waiting, control = os.pipe()
    pid, fd = pty.fork()
    if pid == 0:
        os.read(waiting, 2)  # until the terminal has its size
        os.execve(PROGRAM[0], [*PROGRAM, *args], {"DOCKER_HOST": daemon.host, "HOME": "/nonexistent"})
    os.close(waiting)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    os.write(control, b"go")
    os.close(control)
    before = termios.tcgetattr(fd)
    shown, sent = b"", False
    while True:
        if not select.select([fd], [], [], 20)[0]:
            os.kill(pid, 9)
            break
        try:
            data = os.read(fd, 4096)
        except OSError:
            break
        if not data:
            break
        shown += data
        if after in shown and not sent:
            sent = True
            assert not termios.tcgetattr(fd)[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
            os.write(fd, typed)
    restored = termios.tcgetattr(fd)[:4] == before[:4]
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(fd)
    return status, shown, restored


def test_a_terminal_is_raw_and_restored_after_the_end(tmp_path: Path) -> None:
    container = Container(status=5, raw=True)
    daemon = FakeDaemon(tmp_path, container.routes())
    status, shown, restored = on_terminal(daemon, ["run", "-it", "busybox"], b"hi\x03", b"early ")
    # control-C went to the container as a byte, and this container ends by it
    assert (status, shown, restored) == (5, b"WARNING: careful\r\nearly HI\x03", True)
    assert daemon.body("POST /containers/create")["HostConfig"]["ConsoleSize"] == [33, 77]
    assert f"POST /containers/{ID}/resize?h=33&w=77" in daemon.requests()


def test_detach_keys_leave_the_container_alone(tmp_path: Path) -> None:
    for args, typed in (([], b"a\x10b\x10\x11"), (["--detach-keys", "ctrl-x,y"], b"a\x10b\x18y")):
        folder = tmp_path / str(len(args))
        folder.mkdir()
        container = Container(raw=True, echo=False)
        daemon = FakeDaemon(folder, container.routes())
        status, _, restored = on_terminal(daemon, ["run", "-it", *args, "busybox"], typed, b"early ")
        assert (status, restored) == (0, True)
        assert container.ended.wait(10)
        assert container.received == b"a\x10b"
        assert not any("/kill" in line for line in daemon.requests())


def test_the_flags_of_a_command_that_comes_later_are_listed_as_such() -> None:
    code, out, _ = call(None, "image", "build", "--help")
    flags = [line for line in out.splitlines() if line.lstrip().startswith("-")]
    assert code == 0 and len(flags) == 30 and all(line.endswith("(not yet)") for line in flags)
    assert "  -t, --tag list                Name and optionally a tag in the \"name:tag\" format (not yet)" in flags
    code, _, err = call(None, "image", "build", "-t", "x", ".")
    assert (code, err) == (1, "pier: 'pier image build' is not supported by Pier yet\n")


def prunable(folder: Path) -> FakeDaemon:
    images = [{"Untagged": "a:1"}, {"Deleted": "sha256:1"}]
    return FakeDaemon(folder, {
        "POST /containers/prune": {"ContainersDeleted": ["c1", "c2"], "SpaceReclaimed": 1000},
        "POST /networks/prune": {"NetworksDeleted": None},
        "POST /volumes/prune": {"VolumesDeleted": ["v"], "SpaceReclaimed": 200},
        "POST /images/prune": {"ImagesDeleted": images, "SpaceReclaimed": 34},
    })  # fmt: skip


def test_system_prune_goes_through_all_nouns(tmp_path: Path) -> None:
    daemon = prunable(tmp_path)
    code, out, _ = call(daemon, "system", "prune", "--filter", "label=x", "--volumes", "-a", stdin=b"y\n")
    daemon.close()
    assert code == 0 and out == (
        "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n"
        "  - all anonymous volumes not used by at least one container\n  - all images without at least one container associated to them\n\n"
        "  Items to be pruned will be filtered with:\n  - label=x\n\nAre you sure you want to continue? [y/N] "
        "Deleted Containers:\nc1\nc2\n\nDeleted Volumes:\nv\n\nDeleted Images:\nuntagged: a:1\ndeleted: sha256:1\n\nTotal reclaimed space: 1.234kB\n"
    )
    asked = [unquote(line) for line in daemon.requests()]
    assert [line.partition("?")[0].rpartition("/")[0].rpartition("/")[2] for line in asked] == ["containers", "networks", "volumes", "images"]
    assert all('"x":true' in line for line in asked) and '"dangling":{"false":true}' in asked[-1] and "dangling" not in asked[0]


@pytest.mark.parametrize(("args", "answer", "code"), [((), b"n\n", 0), (("-f", "--volumes", "--filter", "until=1h"), b"", 1)])
def test_system_prune_that_is_not_wanted_removes_nothing(tmp_path: Path, args: tuple[str, ...], answer: bytes, code: int) -> None:
    daemon = prunable(tmp_path)
    assert call(daemon, "system", "prune", *args, stdin=answer)[0] == code
    daemon.close()
    assert daemon.requests() == []
