"""What a daemon that has just come up does about containers: records compared with what the kernel really holds, both repaired.

Three sources: the rows (what was acknowledged), the keeper (what runs, and exits that nobody acknowledged), volatile.db
(what ran, for the case that the keeper died, too). The decision is pure (`decide`); `restore` acts on it, with a line in
the log for each repair.
"""

import asyncio
import os
import shutil
import time
from dataclasses import dataclass

from pier.containers import egress, links, monitor, names_service, policy, probe, published, start, streams, update
from pier.containers.exits import ended, go_on
from pier.containers.record import Container, State, decode_record, decode_state
from pier.containers.remove import erase
from pier.containers.streams import reopen
from pier.containers.table import Containers, log
from pier.errors import PierError
from pier.logs import fifos
from pier.runtime import exits
from pier.runtime.supervisor import Child, Exit, Kept, Record

GRACE_S = 8


@dataclass(frozen=True)
class Note:
    """A run as volatile.db, or what is left of it in the kernel, tells it."""

    pid: int
    start_time: int
    started_ns: int
    health: bytes | None = None


@dataclass(frozen=True)
class Decision:
    """What to do about one container: `adopt` it running, `finish` it with an exit, `search` for its process, `lost`, or `rest`.

    `erase` it after that; `boot`: start it when everything else is settled.
    """

    action: str
    exit: Exit | None = None
    erase: bool = False
    boot: bool = False


def decide(state: State, kept: Kept | None, volatile: bool, auto_remove: bool) -> Decision:
    """Decide from a row's state, what the keeper holds of it, and whether volatile.db has it running in this boot. Pure."""
    if state.status == "removing":
        return Decision("finish" if kept and kept.exit else "rest", kept.exit if kept else None, erase=True)
    if kept is not None and kept.exit is None:
        return Decision("adopt")
    if kept is not None:
        ran = volatile or state.running or kept.started
        return Decision("finish", kept.exit, boot=True) if ran else Decision("rest", kept.exit, erase=auto_remove and state.ever_started, boot=True)
    if volatile:
        return Decision("search")
    if state.running:
        return Decision("lost", erase=auto_remove, boot=True)
    return Decision("rest", erase=auto_remove and state.ever_started, boot=True)


async def restore(ctx: Containers) -> None:
    """Load all containers and repair; containers that are to run again are started in the background."""
    rows = ctx.volatile.read("SELECT * FROM running")
    running = {row["key"]: Note(row["pid"], row["start_time"], row["started_ns"], row["health"]) for row in rows if row["boot_id"] == ctx.boot_id}
    kept = {child.key: child for child in ctx.supervisor.kept()}
    decisions: list[tuple[Container, Kept | None, Note | None, Decision]] = []
    for row in ctx.store.read("SELECT id, record, state FROM containers ORDER BY created_ns"):
        container = Container(decode_record(row["record"]), decode_state(row["state"]), streams=True)
        ctx.table[container.id] = container
        ctx.names[container.name] = container.id
        links.remember(ctx, container.record)
        child, note = kept.get(container.id), _note(ctx, container, kept.get(container.id), running)
        if child is not None and child.exit is None and _is_blank(container, child, note):
            # The child of a create, or of a start that was not acknowledged, whose daemon died: it has no plan and ends by itself.
            container.discarded.expect(child.pid)
            child = None
        decision = decide(container.state, child, note is not None, container.record.host.auto_remove)
        decisions.append((container, child, note, decision))
    await _leftovers(ctx, kept)
    for container, child, note, decision in decisions:
        if note is not None and note.health:
            ctx.set_state(container, health=monitor.noted(note.health) or container.state.health)
        await _act(ctx, container, decision, child, note)
    for key in kept.keys() - ctx.table.keys():
        await _end_check(ctx, kept[key])
        await _end_stranger(ctx, kept[key])
    for folder in _strange_folders(ctx):
        log.warning("repair: removed the folder of container %s, which was never acknowledged or is gone", folder.name[:12])
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    ctx.forget_strangers()
    for container, _, _, decision in decisions:
        if container.restart_task is not None:
            continue  # its end, which was just recorded, has begun the next run
        if decision.boot and container.state.restarting and not container.state.stopped_by_user:
            log.info("container %s is started again by its restart policy, which the last daemon had begun", container.record.short_id)
            go_on(ctx, container)
        elif decision.boot and not container.removed and policy.wants_start_at_boot(container.record.host.restart_policy, container.state):
            ctx.spawn(_boot(ctx, container), f"start {container.record.short_id} at boot")


async def _leftovers(ctx: Containers, kept: dict[str, Kept]) -> None:
    """FIFOs of processes that nobody holds any more: the last daemon died between their end and that of their streams."""
    for key in fifos.keys(ctx.exec_root):
        if key not in kept and key not in ctx.table:
            await streams.close(ctx, key)


def _note(ctx: Containers, container: Container, child: Kept | None, running: dict[str, Note]) -> Note | None:
    """What is known of a container's run but by the keeper: volatile.db, a note beside its FIFOs, and where nothing is, and no keeper, its cgroup."""
    state, note = container.state, running.get(container.id)
    if note is None and (noted := fifos.noted_run(ctx.exec_root, container.id)) is not None:
        note = Note(*noted)  # a start that was acknowledged a moment before the daemon's end
    over = note is not None and note.started_ns == state.started_ns and state.status in ("exited", "restarting")  # its end is recorded
    if note is not None and not over and (child is None or child.pid == note.pid):
        return note
    if child is not None:
        return None
    try:
        found = [(not _is_first(pid), exits.start_time(pid), pid) for pid in ctx.facts.cgroups.pids(container.id) if _has_plan(pid)]
    except OSError:
        return None  # they are just ending
    return Note(min(found)[2], min(found)[1], state.started_ns or time.time_ns()) if found else None


def _is_first(pid: int) -> bool:
    """Whether a process is PID 1 of a pid namespace of its own (`NSpid` of proc(5))."""
    try:
        with open(f"/proc/{pid}/status", errors="replace") as file:  # its name is its own
            numbers = next((line.split()[1:] for line in file if line.startswith("NSpid:")), [])
    except OSError:
        return False
    return len(numbers) > 1 and numbers[-1] == "1"


def _is_blank(container: Container, child: Kept, note: Note | None) -> bool:
    return not child.started and note is None and not container.state.running and not _has_plan(child.pid)


async def _act(ctx: Containers, container: Container, decision: Decision, kept: Kept | None, note: Note | None) -> None:
    if decision.action == "adopt" and kept is not None:
        if not kept.started and note is None and not container.state.running:
            log.warning("repair: container %s runs, though its start was never recorded: it is taken as started", container.record.short_id)
            ctx.supervisor.started(container.id)
        await _adopt(ctx, container, kept.pid, kept.start_time, note)
    elif decision.action == "finish" and decision.exit is not None:
        ctx.set_state(container, status="running" if not decision.erase else container.state.status, pid=decision.exit.pid)
        container.places = ctx.networks.endpoints_of(container.id)
        await _reopen_quietly(ctx, container)
        await ended(ctx, decision.exit)
    elif decision.action == "search" and note is not None:
        status = "paused" if container.state.paused else "running"
        ctx.set_state(container, status=status, pid=note.pid, started_ns=note.started_ns, ever_started=True)
        log.warning("repair: the keeper of container %s was lost; its process %d is looked for", container.record.short_id, note.pid)
        await ctx.supervisor.adopt([Record(container.id, note.pid, note.start_time)])
        if os.path.exists(f"/proc/{note.pid}"):
            await _adopt(ctx, container, note.pid, note.start_time, note)
    elif decision.action == "lost":
        log.warning("repair: container %s ran when the host went down; it is exited now", container.record.short_id)
        ctx.set_state(container, status="exited", pid=0, exit_code=255, error="", finished_ns=container.state.started_ns)
        monitor.halt(ctx, container)
        await ctx.save_state(container)
    elif kept is not None and kept.exit is not None:
        await ctx.supervisor.acknowledge(container.id)
    if decision.erase and not container.removed:
        async with container.lock:
            await erase(ctx, container)


async def _adopt(ctx: Containers, container: Container, pid: int, start_time: int, note: Note | None) -> None:
    state = container.state
    begun = note.started_ns if note is not None else state.started_ns or container.record.created_ns
    ctx.set_state(container, status="paused" if state.paused else "running", pid=pid, started_ns=begun, ever_started=True, error="", exit_code=0)
    try:
        container.child = Child.adopted(container.id, pid, start_time, await ctx.supervisor.fetch(container.id, "pidfd"))
    except KeyError:
        return  # it has ended since: its exit is reported as soon as everything is restored
    ctx.supervisor.watch(Record(container.id, pid, start_time), container.child.pidfd)
    container.places = ctx.networks.endpoints_of(container.id)
    await egress.hold(ctx, container)
    await _reopen_quietly(ctx, container)
    ctx.running.remember(container.id, pid, start_time, begun)
    try:  # the last daemon may have got no further than the record
        (ctx.facts.cgroups.freeze if state.paused else ctx.facts.cgroups.thaw)(container.id)
        update.follow(ctx, container)
    except (OSError, PierError) as problem:
        log.warning("repair: container %s does not follow its record: %s", container.record.short_id, problem)
    if not state.paused:
        monitor.go_on(ctx, container)


def _has_plan(pid: int) -> bool:
    """Whether a process is past its execve: a blank child still is the keeper's interpreter."""
    try:
        return os.readlink(f"/proc/{pid}/exe") != os.readlink("/proc/self/exe")
    except OSError:
        return False


async def _reopen_quietly(ctx: Containers, container: Container) -> None:
    """The pump, or a keeper that holds the descriptors for it, goes on by itself; where both are gone the FIFOs are opened anew."""
    if container.id in ctx.supervisor.held():
        return
    try:
        await reopen(ctx, container)
    except (OSError, PierError, KeyError) as problem:
        log.warning("repair: the output of container %s cannot be read any more: %s", container.record.short_id, problem)


async def _end_stranger(ctx: Containers, kept: Kept) -> None:
    """A process without a record: a create that was never acknowledged, or an exec of the last daemon, which goes on."""
    if kept.exit is None and not ctx.facts.cgroups.exists(kept.key):
        return
    if kept.exit is None:
        log.warning("repair: process %d (%s) belongs to nothing that was acknowledged: it is ended", kept.pid, kept.key[:12])
        ctx.facts.cgroups.kill(kept.key)
        try:
            fd = await ctx.supervisor.fetch(kept.key, "pidfd")
        except KeyError:
            return
        try:
            from pier.linux import pidfd

            pidfd.send_signal(fd, 9)
        except ProcessLookupError:
            pass
        finally:
            os.close(fd)
    else:
        await streams.close(ctx, kept.key)
        await ctx.supervisor.acknowledge(kept.key)


async def _end_check(ctx: Containers, kept: Kept) -> None:
    """A health check of the last daemon: nobody waits for its answer, and it may hang for ever."""
    owner = next((c for c in ctx.table.values() if c.state.health is not None and kept.key.startswith(probe.mark(c.id))), None)
    if owner is not None and kept.exit is None:
        log.info("repair: the health check of container %s that the last daemon had begun is ended", owner.record.short_id)
        await asyncio.to_thread(probe.end, ctx.facts.cgroups, owner.id, kept.pid)


def _strange_folders(ctx: Containers) -> "list[os.DirEntry[str]]":
    with os.scandir(ctx.data_root / "containers") as entries:
        return [entry for entry in entries if entry.name not in ctx.table]


async def _boot(ctx: Containers, container: Container) -> None:
    await ctx.ready.wait()  # networks and cgroups are compared with what runs: a start in the middle of that would be taken for a stranger
    async with container.lock:
        if container.removed or container.state.running or ctx.stopping:
            return
        try:
            await start.run(ctx, container)
        except PierError as problem:
            log.warning("container %s: its restart policy asked for a start, which failed: %s", container.record.short_id, problem)


async def helper_lost(ctx: Containers, name: str) -> None:
    """A helper was replaced: the clients of a pump are gone; a new keeper holds nothing of what the last one held."""
    if name == "pump":
        ctx.pump.on_lost()
    if name in ("netd", "keeper"):
        # the keeper holds the containers' sockets for the next netd; those of a dead keeper are gone
        await names_service.restored(ctx, ctx.named if name == "netd" else set())
        await published.restored(ctx, {published.KEY + each for each in ctx.holding} if name == "netd" else set())
    if name != "keeper":
        return
    await ctx.snapshots.hold_again()
    for container in list(ctx.table.values()):
        if container.state.running:
            await _reopen_quietly(ctx, container)
