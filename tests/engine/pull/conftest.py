"""Registries on the loopback of the engine under test, and pulls told as lists of lines."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine.conftest import warm_up
from tests.harness.engine import Engine
from tests.harness.registry import FakeRegistry

Line = dict[str, Any]


def pull(engine: Engine, name: str, tag: str = "", auth: str = "", **query: Any) -> list[Line]:
    """POST /images/create?fromImage=; its lines, whatever they say. AssertionError for another status than 200."""
    headers = {"X-Registry-Auth": auth} if auth else {}
    answer = engine.api("POST", "/images/create", fromImage=name, tag=tag, headers=headers, **query).ok()
    assert answer.headers["content-type"] == "application/json"
    return [json.loads(line) for line in answer.body.splitlines()]


def pulled(engine: Engine, name: str, **query: Any) -> list[Line]:
    """The same of a pull that succeeds."""
    lines = pull(engine, name, **query)
    assert lines[-1].get("status", "").startswith("Status: "), lines
    return lines


def attempt(engine: Engine, name: str) -> list[Line] | None:
    """A pull whose daemon may die: its lines as far as they came; None where there came no answer."""
    try:
        return pull(engine, name)
    except (OSError, http.client.HTTPException):
        return None


def ranges(registry: FakeRegistry, digest: str) -> list[tuple[int, int | None]]:
    """What was asked for of a blob: (first byte, last byte), the latter None where it was to the end."""
    asked = [request.headers.get("range", "bytes=0-").removeprefix("bytes=") for request in registry.asked(f"GET .*/blobs/{digest}")]
    return [(int(low), int(high) if high else None) for low, _, high in (text.partition("-") for text in asked)]


def kept(engine: Engine) -> dict[str, int]:
    """What is left of unfinished pulls: digest -> length of the file."""
    folders = (engine.data_root / "content" / "ingests").iterdir()
    return {f"sha256:{folder.name[5:]}": (folder / "data").stat().st_size for folder in folders if folder.name.startswith("blob-")}


def present(engine: Engine, name: str) -> bool:
    """Whether a name is known."""
    return engine.api("GET", f"/images/{name}/json").status == 200


def remove(engine: Engine, name: str) -> None:
    """rmi; a name that is not there is as good."""
    engine.api("DELETE", f"/images/{name}", force=True).ok(200, 404)


@pytest.fixture(scope="module", params=["erofs", "unpacked"])
def site(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A warm engine of each kind of layers, for tests that end and start its daemon."""
    with Engine(env={"PIER_FEATURES": "-erofs"} if request.param == "unpacked" else {}) as engine:
        warm_up(engine)
        assert engine.api.get("/info")["Driver"] == request.param
        yield engine


@pytest.fixture
def registry(engine: Engine) -> Iterator[FakeRegistry]:
    with FakeRegistry(inside=engine.namespaces) as registry:
        yield registry


@pytest.fixture
def beside(site: Engine) -> Iterator[FakeRegistry]:
    """A registry beside the engine of `site`."""
    with FakeRegistry(inside=site.namespaces) as registry:
        yield registry
