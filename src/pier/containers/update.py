"""Changing limits and the restart policy of a container, whether it runs or not."""

import msgspec

from pier import trace
from pier.api.models.containers import HostConfig
from pier.containers import preparing, unsupported, validate
from pier.containers.degrade import degrade
from pier.containers.record import Container, Record, encode
from pier.containers.spec import resources
from pier.containers.table import Containers
from pier.errors import Conflict, Internal, Invalid, PierError
from pier.runtime.limits import DEVICES, Write, apply, limits

_COPIED = (
    "cpu_shares", "nano_cpus", "cpu_period", "cpu_quota", "cpuset_cpus", "cpuset_mems", "memory", "memory_swap", "memory_reservation",
)  # fmt: skip
_MEMORY, _MEMORY_AND_SWAP = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"


async def update(ctx: Containers, name: str, wanted: HostConfig) -> list[str]:
    """Give a container the limits and the policy that are set in `wanted`; the others stay. Returns warnings.

    Raises NotFound, Invalid, NotImplementedByPier for a value, Conflict for one that does not go with those it has, Internal where the
    kernel refuses it (then nothing has changed).
    """
    container = ctx.find(name)
    unsupported.refuse_resources(wanted)
    warnings = validate.check_update(wanted, ctx.machine) + degrade(wanted, ctx.machine)
    async with container.lock:
        try:
            if container.removed or container.doomed or container.state.status in ("removing", "dead"):
                raise Conflict('container is marked for removal and cannot be "update"')
            record = msgspec.structs.replace(container.record, host=merged(container.record.host, wanted))
            validate.check_update(record.host, ctx.machine)
            await _change(ctx, container, record, wanted)
        except (Conflict, Invalid) as problem:
            raise type(problem)(f"Cannot update container {container.id}: {problem}") from None
        except OSError as problem:
            raise Internal(f"Cannot update container {container.id}: {problem.strerror} {problem.filename or ''}".strip()) from None
    ctx.publish(container, "update")
    return warnings


def merged(now: HostConfig, wanted: HostConfig) -> HostConfig:
    """A host configuration with what is set in another. Pure. Raises Conflict with Docker's texts for what does not go together."""
    for given, there, text in (
        (wanted.nano_cpus, now.cpu_period, "Nano CPUs cannot be updated as CPU Period has already been set"),
        (wanted.nano_cpus, now.cpu_quota, "Nano CPUs cannot be updated as CPU Quota has already been set"),
        (wanted.cpu_period, now.nano_cpus, "CPU Period cannot be updated as NanoCPUs has already been set"),
        (wanted.cpu_quota, now.nano_cpus, "CPU Quota cannot be updated as NanoCPUs has already been set"),
    ):
        if given > 0 and there > 0:
            raise Conflict(f"Conflicting options: {text}")
    if wanted.memory > now.memory_swap >= 0 and not wanted.memory_swap and wanted.memory:
        raise Conflict("Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time")
    policy = wanted.restart_policy
    if policy.name and now.auto_remove and policy.name != "no":
        raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
    changes = {field: getattr(wanted, field) for field in _COPIED if getattr(wanted, field)}
    if wanted.pids_limit is not None:
        changes["pids_limit"] = max(wanted.pids_limit, 0)
    if policy.name:
        changes["restart_policy"] = policy
    return msgspec.structs.replace(now, **changes)


def writes(before: HostConfig, after: HostConfig, all_limits: list[Write]) -> list[Write]:
    """What a running container's cgroups are told of `all_limits` (of `after`), in the order in which the kernel takes it. Pure."""
    found = [write for write in all_limits if write.file != DEVICES and write.controller != "devices"]
    if after.memory > before.memory_swap > 0:  # memory may never be above memory and swap together: going up, the sum goes first
        found.sort(key=lambda write: write.file != _MEMORY_AND_SWAP)
    if after.pids_limit == 0 and before.pids_limit:
        found.append(Write("pids", "pids.max", "max"))
    return found


async def _change(ctx: Containers, container: Container, record: Record, wanted: HostConfig) -> None:
    """The record first, with a note that the kernel has to follow, which the next daemon finds (`follow`)."""
    before = container.record
    told = writes(before.host, record.host, limits(resources(record.host, ()), ctx.facts.cgroups))
    await preparing.drop_locked(ctx, container)
    limited = any(getattr(wanted, field) for field in _COPIED) or wanted.pids_limit is not None
    running = container.state.running
    await _save(ctx, container, record, limits_due=limited and running)
    trace.point("update.recorded")
    if limited and running:
        try:
            apply(container.id, told, ctx.facts.cgroups)
        except (OSError, PierError):
            await _save(ctx, container, before, limits_due=True)
            apply(container.id, writes(record.host, before.host, limits(resources(before.host, ()), ctx.facts.cgroups)), ctx.facts.cgroups)
            raise
        trace.point("update.applied")
        ctx.set_state(container, limits_due=False)
        ctx.spawn(ctx.save_state(container), f"save {record.short_id}")


async def _save(ctx: Containers, container: Container, record: Record, limits_due: bool) -> None:
    state = ctx.set_state(container, limits_due=limits_due)
    row = (encode(record), encode(state), record.id)
    await ctx.store.write(lambda db: db.execute("UPDATE containers SET record=?, state=? WHERE id=?", row))
    container.record = record


def follow(ctx: Containers, container: Container) -> None:
    """The last daemon was killed while it changed the limits of a container that runs: they are what its record says. Raises OSError."""
    if container.state.limits_due:
        host = container.record.host
        apply(container.id, writes(host, host, limits(resources(host, ()), ctx.facts.cgroups)), ctx.facts.cgroups)
        ctx.set_state(container, limits_due=False)
