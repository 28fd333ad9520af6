"""What the tests of faults do to an engine: requests that may lose their daemon, and looks at what is left."""

import http.client
import json
import os
import signal
from typing import Any

from tests.harness.api import Answer
from tests.harness.commands import eventually
from tests.harness.engine import Engine

SLEEP = ("tail", "-f", "/dev/null")  # its name differs from what the canary runs


def attempt(engine: Engine, method: str, route: str, body: Any = None, **query: Any) -> Answer | None:
    """A request whose daemon may die under it: its answer, None where there came none."""
    try:
        return engine.api(method, route, body, **query)
    except (OSError, http.client.HTTPException):
        return None


def create(engine: Engine, *command: str, name: str | None = None, ahead: bool = True, **host: Any) -> str:
    """A container of busybox; its ID. `ahead`: a plain one, whose start is prepared as soon as it is created."""
    body = {"Image": "busybox:latest", "Cmd": list(command), "HostConfig": host, "OpenStdin": not ahead}
    made = engine.api("POST", "/containers/create", body, name=name)
    return str(made.ok(201).json["Id"])


def start(engine: Engine, *command: str, name: str | None = None, **host: Any) -> str:
    """A container of busybox that was started; its ID."""
    made = create(engine, *command, name=name, **host)
    engine.api("POST", f"/containers/{made}/start").ok(204)
    return made


def run_one(engine: Engine) -> None:
    """Run a container from its create to its removal, so that a daemon has opened what it opens on demand, and works."""
    container = start(engine, "true")
    assert exit_code(engine, container) == 0
    engine.api("DELETE", f"/containers/{container}").ok(204)


def state(engine: Engine, container: str) -> dict[str, Any]:
    """`State` of inspect."""
    return dict(engine.api.get(f"/containers/{container}/json")["State"])


def listed(engine: Engine, container: str) -> str:
    """The state of a container as `ps -a` has it; "" where it has none."""
    return next((str(c["State"]) for c in engine.api.get("/containers/json", all=True) if c["Id"] == container), "")


def logs(engine: Engine, container: str) -> bytes:
    """The log so far, as multiplexed frames."""
    return engine.api("GET", f"/containers/{container}/logs", stdout=True, stderr=True).ok().body


def exit_code(engine: Engine, container: str) -> int:
    """What `wait` answers."""
    return int(engine.api("POST", f"/containers/{container}/wait", timeout_s=20).ok().json["StatusCode"])


def died(engine: Engine, limit_s: float = 15.0) -> None:
    """Wait for the daemon to be gone."""
    eventually(lambda: engine.namespaces.exit_code(engine.pid) is not None, limit_s, "the daemon dies at the point")


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def remove_all(engine: Engine, *but: str) -> None:
    """Remove every container but those."""
    for container in set(engine.containers()) - set(but):
        engine.api("DELETE", f"/containers/{container}", force=True)


def error_of(answer: Answer | None) -> str:
    """The message of an error."""
    assert answer is not None and answer.status >= 400, answer
    return str(json.loads(answer.body)["message"])


def kill(pid: int) -> None:
    """kill -9; gone already is as good."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
