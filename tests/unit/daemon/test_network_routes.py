"""What the routes of networks do beside their verbs."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pier.api.models.networks import NetworksPruned
from pier.daemon.routes import networks as routes
from pier.http.message import Request


def test_netd_forgets_what_a_prune_removes(monkeypatch: pytest.MonkeyPatch) -> None:
    live, told = {"a": 1, "b": 2, "c": 3}, []

    async def prune(*_: object) -> NetworksPruned:
        del live["a"], live["c"]
        return NetworksPruned(networks_deleted=["one", "three"])

    async def removed(ctx: object, identity: str) -> None:
        told.append(identity)

    monkeypatch.setattr(routes.objects, "prune", prune)
    monkeypatch.setattr(routes.names_service, "removed", removed)
    containers = SimpleNamespace(networks_in_use=lambda: set[str]())
    engine: Any = SimpleNamespace(networks=SimpleNamespace(live=live), containers=containers)
    request = cast(Request, SimpleNamespace(query=SimpleNamespace(filters=dict)))
    answer: Any = asyncio.run(routes.prune(request, engine))
    assert b'"one"' in answer.body and sorted(told) == ["a", "c"]
