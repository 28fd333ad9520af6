"""Canaries: containers with known data and a beating heart that run through every test and must not notice anything."""

from dataclasses import dataclass

from .commands import eventually
from .engine import Engine

HEART = "echo $TOKEN > /kept; i=0; while :; do i=$((i+1)); echo $i > /beat; sleep 0.2; done"


@dataclass(frozen=True)
class Canary:
    """A container by ID with what it was when it began."""

    engine: Engine
    id: str
    pid: int
    started: str
    token: str

    @classmethod
    def start(cls, engine: Engine, token: str = "known data") -> "Canary":
        """Start one from the busybox image."""
        body = {"Image": "busybox:latest", "Cmd": ["sh", "-c", HEART], "Env": [f"TOKEN={token}"], "Labels": {"pier.canary": "yes"}}
        made = engine.api("POST", "/containers/create", body).ok(201).json["Id"]
        engine.api("POST", f"/containers/{made}/start").ok(204)
        state = engine.api.get(f"/containers/{made}/json")["State"]
        canary = cls(engine, made, state["Pid"], state["StartedAt"], token)
        eventually(lambda: canary.beat() > 0, says="the canary's first heartbeat")
        return canary

    def beat(self) -> int:
        """The number of its last heartbeat, read in its root as the kernel shows it; 0 before the first."""
        try:
            with open(f"/proc/{self.pid}/root/beat") as file:
                return int(file.read().strip() or 0)
        except FileNotFoundError:
            return 0

    def check(self) -> None:
        """AssertionError unless it is the same process, still beats, has its data, and the engine says so."""
        before = self.beat()
        state = self.engine.api.get(f"/containers/{self.id}/json")["State"]
        assert (state["Running"], state["Pid"], state["StartedAt"]) == (True, self.pid, self.started), f"the canary changed: {state}"
        eventually(lambda: self.beat() != before, says="the canary's next heartbeat")
        with open(f"/proc/{self.pid}/root/kept") as file:
            assert file.read() == self.token + "\n"
