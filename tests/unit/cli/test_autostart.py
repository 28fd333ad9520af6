import os
import signal
import sys
from pathlib import Path

import pytest

from pier.cli import autostart
from pier.cli.session import Cli, CommandError, Endpoint

DAEMON = """
import os, socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
open(sys.argv[1] + ".pid", "w").write(f"{os.getpid()} {os.getsid(0)}")
while True:
    connection, _ = listener.accept()
    if connection.recv(9999):
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nApi-Version: 1.51\\r\\nContent-Length: 0\\r\\n\\r\\n")
"""


def default_cli(tmp_path: Path) -> Cli:
    cli = Cli({"PATH": os.environ["PATH"]})
    cli._endpoint = Endpoint(f"unix://{tmp_path}/d.sock", "default", "default")
    return cli


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts a daemon")
def test_a_daemon_is_started_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", DAEMON, f"{tmp_path}/d.sock"]
    monkeypatch.setattr(autostart, "daemon_command", lambda **_: command)
    monkeypatch.setattr(autostart, "LOG_FILE", f"{tmp_path}/log")
    client = default_cli(tmp_path).client()
    client.negotiate()
    assert client.version == "1.51"
    pid, session = map(int, (tmp_path / "d.sock.pid").read_text().split())
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert pid == session  # in a session of its own: the terminal's end is not its end
    assert (
        capfd.readouterr().err == f"pier: no daemon answers on unix://{tmp_path}/d.sock: starting {Path(sys.executable).name} (log: {tmp_path}/log)\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts a daemon")
def test_a_daemon_that_ends_is_told_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autostart, "daemon_command", lambda **_: [sys.executable, "-c", "print('broken'); raise SystemExit(3)"])
    monkeypatch.setattr(autostart, "LOG_FILE", f"{tmp_path}/log")
    with pytest.raises(CommandError, match=f"the daemon ended with exit status 3: see {tmp_path}/log"):
        default_cli(tmp_path).client().negotiate()
    assert (tmp_path / "log").read_text() == "broken\n"


def test_where_the_daemon_is_looked_for(tmp_path: Path) -> None:
    folders = [tmp_path / "bin", tmp_path / "path"]
    for folder in folders:
        folder.mkdir()
    with pytest.raises(CommandError, match="there is no pierd in"):
        autostart.daemon_command(str(folders[0] / "pier"), str(folders[1]))
    for folder in reversed(folders):
        (folder / "pierd").write_text("#!/bin/sh\n")
        (folder / "pierd").chmod(0o755)
        assert autostart.daemon_command(str(folders[0] / "pier"), str(folders[1])) == [str(folder / "pierd")]


def test_turned_off_or_named_elsewhere(tmp_path: Path) -> None:
    cli = default_cli(tmp_path)
    cli.environ = {"PIER_AUTOSTART": "0"}
    assert cli.client()._on_refused is None
    assert Cli({}).client(autostart=False)._on_refused is None
    assert Cli({"DOCKER_HOST": "unix:///x"}).client()._on_refused is None
    assert Cli({}, host="unix:///x").client()._on_refused is None
