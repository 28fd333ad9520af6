"""A container run to its end by the API, for the tests of this folder."""

from typing import Any

from tests.harness.engine import Engine

IMAGE = "busybox:latest"


def run(engine: Engine, script: str, host: dict[str, Any] | None = None, **config: Any) -> str:
    """Run a container to its end; what it said. AssertionError where it fails."""
    made = engine.api("POST", "/containers/create", {"Image": IMAGE, "Cmd": ["sh", "-c", script], "HostConfig": host or {}, **config}).ok(201).json
    engine.api("POST", f"/containers/{made['Id']}/start").ok(204)
    code = engine.api("POST", f"/containers/{made['Id']}/wait").ok().json["StatusCode"]
    said = engine.api("GET", f"/containers/{made['Id']}/logs", stdout=True, stderr=True).ok().body
    text = b"".join(frames(said)).decode()
    engine.api("DELETE", f"/containers/{made['Id']}").ok(204)
    assert code == 0, text
    return text


def frames(data: bytes) -> list[bytes]:
    found = []
    while data:
        size = int.from_bytes(data[4:8], "big")
        found.append(data[8 : 8 + size])
        data = data[8 + size :]
    return found
