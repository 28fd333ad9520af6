"""Registries on the loopback of the engine, and pushes told as lists of lines."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.harness import images
from tests.harness.engine import Engine
from tests.harness.registry import FakeRegistry

Line = dict[str, Any]


class Told:
    """The lines of one push."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = list(lines)

    @property
    def error(self) -> str:
        """What went wrong; "" where nothing did."""
        return str(self.lines[-1].get("error", ""))

    def ok(self) -> "Told":
        """Itself; AssertionError with all lines where something went wrong."""
        assert not self.error, self.lines
        return self

    def statuses(self, diff_id: str) -> list[str]:
        """What was said of a layer, without its progress."""
        return [line["status"] for line in self.lines if line.get("id") == diff_id[7:19] and not line.get("progress")]

    def ends(self) -> set[str]:
        """How the layers ended."""
        layers = {line["id"] for line in self.lines if "id" in line}
        return {[line["status"] for line in self.lines if line.get("id") == layer][-1] for layer in layers}

    @property
    def digest(self) -> str:
        """Of what was pushed last."""
        return str([line["aux"]["Digest"] for line in self.ok().lines if "Digest" in line.get("aux", {})][-1])


def push(engine: Engine, name: str, auth: str = "e30=", **query: Any) -> Told:
    """POST /images/NAME/push with the tag that stands in the name."""
    repository, _, tag = name.rpartition(":")
    with_tag = {"tag": tag} if repository and "/" not in tag and "@" not in name else {}
    route = f"/images/{repository if with_tag else name}/push"
    answer = engine.api("POST", route, headers={"X-Registry-Auth": auth}, **with_tag, **query).ok()
    return Told([json.loads(line) for line in answer.body.splitlines()])


def load(engine: Engine, folder: Path, tag: str, *layers: bytes) -> str:
    """An image of these layers over busybox's. Returns its ID."""
    identity = images.docker_archive(folder / "image.tar", tag, [images.busybox_layer(), *layers])
    answer = engine.api("POST", "/images/load", data=(folder / "image.tar").read_bytes()).ok()
    assert b"Loaded image" in answer.body, answer.body
    return identity


def pull(engine: Engine, name: str, **query: Any) -> list[Line]:
    """POST /images/create?fromImage=; AssertionError where it goes wrong."""
    answer = engine.api("POST", "/images/create", fromImage=name, **query).ok()
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert "error" not in lines[-1], lines
    return lines


@pytest.fixture
def registry(engine: Engine) -> Iterator[FakeRegistry]:
    with FakeRegistry(inside=engine.namespaces) as registry:
        yield registry


@pytest.fixture
def own() -> Iterator[Engine]:
    """An engine for this test alone, whose layers and blobs go with it."""
    with Engine() as engine:
        yield engine


@pytest.fixture
def own_registry(own: Engine) -> Iterator[FakeRegistry]:
    with FakeRegistry(inside=own.namespaces) as registry:
        yield registry
