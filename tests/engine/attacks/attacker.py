"""What the attacks have in common: images with a surprise, containers and execs by the API, and a Python inside (bound from the host, read-only)."""

import os
import socket
import sys
import time
from typing import Any

from tests.harness import images
from tests.harness.api import frames
from tests.harness.engine import Engine

DAEMON_SECRET = "http://user:8d1f-daemon@127.0.0.1"
PYTHON = [os.path.realpath(sys.executable), "-I", "-S", "-c"]
ASK_READ_ONLY = "import os; fd = os.open('/proc/self/exe', os.O_RDONLY); print('read-only', bool(os.fstatvfs(fd).f_flag & os.ST_RDONLY))"
BINDS = sorted({f"{path}:{path}:ro" for path in ("/usr", sys.base_prefix) if path == "/usr" or not path.startswith("/usr/")})


def load(engine: Engine, name: str, *layers: bytes, config: dict[str, Any] | None = None) -> str:
    """Load an image of busybox and these layers above it; its ID."""
    path = engine.roots / f"{name}.tar"
    image_id = images.docker_archive(path, f"{name}:latest", [images.busybox_layer(), *layers], config)
    answer = engine.api("POST", "/images/load", data=path.read_bytes(), quiet=True).ok()
    assert b"error" not in answer.body, answer.body
    path.unlink()
    return image_id


def create(engine: Engine, command: list[str], host: dict[str, Any] | None = None, name: str | None = None, **config: Any) -> str:
    """Create a container of the attacker's image (or Image=...); its ID."""
    body = {"Image": "attacker", "Cmd": command, "HostConfig": host or {}, **config}
    return str(engine.api("POST", "/containers/create", body, name=name).ok(201).json["Id"])


def start(engine: Engine, command: list[str], host: dict[str, Any] | None = None, **config: Any) -> str:
    """Create and start a container; its ID."""
    made = create(engine, command, host, **config)
    engine.api("POST", f"/containers/{made}/start").ok(204)
    return made


def run(engine: Engine, command: list[str], host: dict[str, Any] | None = None, **config: Any) -> tuple[int, str]:
    """Run a container to its end: exit code and both outputs. One that cannot start: -1 and the daemon's message."""
    made = create(engine, command, host, **config)
    started = engine.api("POST", f"/containers/{made}/start")
    if started.status != 204:
        engine.api("DELETE", f"/containers/{made}", force=True).ok(204)
        return -1, str(started.json["message"])
    return end(engine, made)


def end(engine: Engine, container: str) -> tuple[int, str]:
    """Wait for the end of a container, remove it: exit code and both outputs."""
    code = int(engine.api("POST", f"/containers/{container}/wait").ok().json["StatusCode"])
    said = output(engine, container)
    engine.api("DELETE", f"/containers/{container}", force=True).ok(204)
    return code, said


def output(engine: Engine, container: str) -> str:
    """Both outputs so far."""
    body = engine.api("GET", f"/containers/{container}/logs", stdout=True, stderr=True).ok().body
    return b"".join(data for _, data in frames(body)).decode(errors="replace")


def execute(engine: Engine, container: str, command: list[str], **config: Any) -> tuple[int, str]:
    """Run an exec to its end: exit code and both outputs; -1 and the message where it is refused at its creation."""
    body = {"Cmd": command, "AttachStdout": True, "AttachStderr": True, **config}
    made = engine.api("POST", f"/containers/{container}/exec", body)
    if made.status != 201:
        return -1, str(made.json["message"])
    answer = engine.api("POST", f"/exec/{made.json['Id']}/start", {"Detach": False, "Tty": bool(config.get("Tty"))}).ok()
    said = answer.body if config.get("Tty") else b"".join(data for _, data in frames(answer.body))
    return int(engine.api.get(f"/exec/{made.json['Id']}/json")["ExitCode"]), said.decode(errors="replace")


def python(engine: Engine, program: str, *words: str, host: dict[str, Any] | None = None, **config: Any) -> tuple[int, str]:
    """Run a Python program in a container to its end."""
    return run(engine, [*PYTHON, program, *words], {"Binds": BINDS, **(host or {})}, **config)


def ping_s(engine: Engine) -> float:
    """How long the daemon takes to answer a ping, in seconds."""
    before = time.monotonic()
    engine.api("GET", "/_ping", timeout_s=20).ok()
    return time.monotonic() - before


def connection(engine: Engine, data: bytes = b"", timeout_s: float = 10) -> socket.socket:
    """A raw connection to the daemon on which `data` was sent."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout_s)
    sock.connect(str(engine.socket))
    sock.sendall(data)
    return sock


def everything(sock: socket.socket) -> bytes:
    """All that comes until the other side closes; AssertionError where it does not."""
    found = b""
    with sock:
        while True:
            try:
                data = sock.recv(65536)
            except ConnectionResetError:
                return found
            except TimeoutError:
                raise AssertionError(f"the connection stays open after {found[:400]!r}") from None
            if not data:
                return found
            found += data
