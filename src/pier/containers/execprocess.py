"""The process of an exec: made when the exec is started, or between that and its create, while the client is on its way.

A child is born in the container, carries out its plan up to the program, and waits there for a moment; whoever looks into the container
in that moment sees a process of it. Nothing of it is kept for longer, since files and users of a container that runs may change.
"""

import asyncio
import contextlib
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from pier import trace
from pier.api.models.execs import ExecCreateRequest
from pier.containers import execspec
from pier.containers.discarded import Discarded
from pier.containers.record import Container
from pier.containers.table import Containers, log
from pier.errors import Conflict
from pier.logs import fifos
from pier.runtime.supervisor import Child

PATIENCE_S = 30
MOST_AHEAD = 8
KEEP_S = 0.5
RECENT_S = 300
"""So long clients may ask for an exec that has ended."""


@dataclass(eq=False)
class Process:
    """A child and Pier's ends of its streams: `undo` takes them away again, `streams` is to be closed whatever becomes of it.

    `plan` and `fds` are what the child has not got yet.
    """

    child: Child
    ends: fifos.Ends
    undo: ExitStack
    streams: ExitStack
    plan: dict[str, Any]
    fds: list[int]
    run_number: int
    """Of the container's run in whose namespaces the child is."""

    def drop(self) -> None:
        """Take everything away again."""
        with self.undo, self.streams:
            pass


@dataclass(eq=False)
class Exec:
    """One exec; lives in `Containers.execs` until `keep_s` after its end. `exit_code` is None until then.

    `over` is set when its end, or the failure of its start, is known and its output is with who attached.
    """

    id: str
    container: Container
    request: ExecCreateRequest
    command: list[str]
    running: bool = False
    started: bool = False
    exit_code: int | None = None
    pid: int = 0
    child: Child | None = None
    starting: asyncio.Lock = field(default_factory=asyncio.Lock)  # its end is looked at only when its start is through
    ahead: Process | None = None
    discarded: Discarded = field(default_factory=Discarded)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    keep_s: float = RECENT_S


def begin(ctx: Containers, found: Exec) -> None:
    """Make the process of an exec that was just created, in the background, where nothing of the client is in it. What fails is left to the start."""
    if found.request.tty or len(ctx.ahead) >= MOST_AHEAD:
        return
    ctx.ahead.add(found.id)

    async def work() -> None:
        async with found.starting:
            if not found.started and not ctx.stopping:
                try:
                    found.ahead = await make(ctx, found, [0, 0], ahead=True)
                except Exception as problem:
                    log.debug("exec %s: its process could not be made ahead: %s", found.id[:12], problem)
        if found.ahead is not None:
            asyncio.get_running_loop().call_later(KEEP_S, drop, ctx, found)
        else:
            ctx.ahead.discard(found.id)

    ctx.spawn(work(), f"prepare exec {found.id[:12]}")


async def take(ctx: Containers, found: Exec, size: list[int]) -> Process:
    """The process that waits, where there is one and it is well, else one made now; `found.starting` is held. Raises what `make` raises."""
    process, found.ahead = found.ahead, None
    ctx.ahead.discard(found.id)
    if process is not None:
        if not process.child.gone and process.run_number == found.container.run_number:
            return process
        process.drop()
    await found.discarded.over(ctx.supervisor, found.id)
    return await make(ctx, found, size)


def drop(ctx: Containers, found: Exec) -> None:
    """Give up what nobody has asked for."""
    process, found.ahead = found.ahead, None
    ctx.ahead.discard(found.id)
    if process is not None:
        process.drop()


async def make(ctx: Containers, found: Exec, size: list[int], ahead: bool = False) -> Process:
    """A child in the container, and its streams; `ahead`: it begins with its plan at once, up to the program.

    Raises Conflict, Unavailable, OSError.
    """
    container, wanted = found.container, found.request
    if container.child is None:
        raise Conflict(f"container {container.id} is not running")
    with ExitStack() as undo, ExitStack() as streams:
        trace.point("exec.child")
        child = await ctx.supervisor.spawn_exec(found.id, container.child.pidfd, container.id)
        undo.callback(found.discarded.let_go, child)
        io = fifos.make(ctx.exec_root, found.id, stdin=wanted.attach_stdin, terminal=wanted.tty, label=container.record.mount_label)
        undo.callback(io.remove)
        ends = streams.enter_context(contextlib.closing(io.open()))  # who opens a FIFO waits for the other end
        inside = streams.enter_context(contextlib.closing(io.open_inside()))
        handed = [fd for fd in inside if fd >= 0]
        places = [handed.index(fd) if fd >= 0 else None for fd in inside]
        steps = execspec.build(ctx, container, wanted, found.command, places, size)
        if ahead:
            first, _, steps = steps.split()
            child.begin(first.encode(), handed)
            handed = []
        return Process(child, ends, undo.pop_all(), streams.pop_all(), steps.encode(), handed, container.run_number)
