"""Which process of an exec its start takes: the one that was made ahead is of one run of its container."""

import asyncio
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from pier.containers import execprocess


@pytest.mark.parametrize(("gone", "run_number", "taken"), [(False, 1, True), (True, 1, False), (False, 2, False)])
def test_one_of_an_earlier_run_is_not_taken(monkeypatch: pytest.MonkeyPatch, gone: bool, run_number: int, taken: bool) -> None:
    dropped, undo = [], ExitStack()
    undo.callback(dropped.append, True)
    child: Any = SimpleNamespace(gone=gone)
    waiting = execprocess.Process(child, None, undo, ExitStack(), {}, [], run_number=1)  # type: ignore[arg-type]
    container: Any = SimpleNamespace(run_number=run_number)
    found = execprocess.Exec("x", container, None, [], ahead=waiting)  # type: ignore[arg-type]
    ctx: Any = SimpleNamespace(ahead={"x"}, supervisor=None)

    async def make(*_: object) -> str:
        return "made now"

    monkeypatch.setattr(execprocess, "make", make)
    assert asyncio.run(execprocess.take(ctx, found, [0, 0])) == (waiting if taken else "made now")
    assert bool(dropped) is not taken and not ctx.ahead
