"""The filters of container lists and of prune. Pure, but for looking up names."""

import re
from collections.abc import Callable

from pier.api import patterns
from pier.containers.record import STATUSES, Container
from pier.containers.table import Containers
from pier.errors import Invalid, NotFound
from pier.images.filters import moment_ns

Predicate = Callable[[Container], bool]
_LIST_KEYS = {
    "ancestor", "before", "exited", "expose", "health", "id", "isolation", "is-task", "label", "label!", "name", "network", "publish",
    "since", "status", "volume",
}  # fmt: skip
_STATES = "created, running, paused, restarting, removing, exited, dead"
_HEALTH = ("none", "starting", "healthy", "unhealthy")


def check_keys(wanted: dict[str, list[str]], known: set[str]) -> None:
    """Raise Invalid (`invalid filter 'zz'`) for a filter that is not known."""
    for key in wanted:
        if key not in known:
            raise Invalid(f"invalid filter '{key}'")


def for_list(ctx: Containers, wanted: dict[str, list[str]]) -> Predicate:
    """One predicate for all filters of a list. Raises Invalid, NotFound (a container named by before or since)."""
    check_keys(wanted, _LIST_KEYS)
    tests: list[Predicate] = []
    for value in wanted.get("status", []):
        if value not in STATUSES:
            raise Invalid(f"invalid filter 'status={value}': invalid value for state ({value}): must be one of {_STATES}")
    for value in wanted.get("health", []):
        if value not in _HEALTH:
            raise Invalid(f"invalid filter 'health={value}': invalid value for health ({value}): must be one of none, starting, healthy, unhealthy")
    for value in wanted.get("is-task", []):
        if value.lower() not in ("true", "false", "1", "0", "t", "f"):
            raise Invalid(f"invalid filter 'is-task={value}'")
    if "status" in wanted:
        tests.append(lambda c: c.state.status in wanted["status"])
    if "health" in wanted:
        tests.append(lambda c: (c.state.health.status if c.state.health else "none") in wanted["health"])
    if "is-task" in wanted:
        tests.append(lambda c: any(v.lower() in ("false", "0", "f") for v in wanted["is-task"]))
    if "isolation" in wanted:
        tests.append(lambda c: any(v in ("", "default") for v in wanted["isolation"]))
    if "exited" in wanted:
        codes = set()
        for value in wanted["exited"]:
            if not re.fullmatch(r"[+-]?[0-9]{1,10}", value):
                raise Invalid(f"invalid filter 'exited={value}': must be a number")
            codes.add(int(value))
        tests.append(lambda c: c.state.status == "exited" and c.state.exit_code in codes)
    if "id" in wanted:
        has_id = patterns.any_of(wanted["id"])
        tests.append(lambda c: has_id(c.id))
    if "name" in wanted:
        has_name = patterns.any_of(wanted["name"])
        tests.append(lambda c: has_name("/" + c.name) or has_name(c.name))
    if "network" in wanted:
        tests.append(
            lambda c: any(
                v in c.record.endpoints or any(e.network_id.startswith(v) for e in c.record.endpoints.values() if e.network_id and v)
                for v in wanted["network"]
            )
        )
    if "volume" in wanted:
        tests.append(lambda c: any(v in (m.destination, m.name or m.source) for m in c.record.mounts for v in wanted["volume"]))
    for key in ("publish", "expose"):
        if key in wanted:
            ports = set().union(*(_ports(v, key) for v in wanted[key]))
            tests.append(_exposes(ports) if key == "expose" else _publishes(ctx, ports))
    if "ancestor" in wanted:
        tests.append(_descends(ctx, wanted["ancestor"]))
    if "before" in wanted:
        limits = [_named(ctx, v, "before") for v in wanted["before"]]
        tests.append(lambda c: all(c.record.created_ns < other.record.created_ns for other in limits))
    if "since" in wanted:
        since = [_named(ctx, v, "since") for v in wanted["since"]]
        tests.append(lambda c: all(c.record.created_ns > other.record.created_ns for other in since))
    tests.append(_labels(wanted))
    return lambda container: all(test(container) for test in tests)


def for_prune(wanted: dict[str, list[str]], now_ns: int) -> Predicate:
    """One predicate for the filters of prune (`label`, `label!`, `until`). Raises Invalid."""
    check_keys(wanted, {"label", "label!", "until"})
    if len(wanted.get("until", [])) > 1:
        raise Invalid("more than one until filter specified")
    before_ns = moment_ns(wanted["until"][0], now_ns) if wanted.get("until") else None
    labels = _labels(wanted)
    return lambda c: labels(c) and (before_ns is None or c.record.created_ns < before_ns)


def _labels(wanted: dict[str, list[str]]) -> Predicate:
    def has(container: Container, wish: str) -> bool:
        key, equals, value = wish.partition("=")
        labels = container.record.config.labels or {}
        return key in labels and (not equals or labels[key] == value)

    return lambda c: all(has(c, w) for w in wanted.get("label", [])) and not any(has(c, w) for w in wanted.get("label!", []))


def _named(ctx: Containers, name: str, key: str) -> Container:
    try:
        return ctx.find(name)
    except (NotFound, Invalid):
        raise NotFound(f"No such container: {name}") from None


def _descends(ctx: Containers, names: list[str]) -> Predicate:
    ids: set[str] = set()
    diffs: list[list[str]] = []
    for name in names:
        try:
            image = ctx.images.resolve(name)
        except (NotFound, Invalid):
            continue
        ids.add(image.id)
        diffs.append(list(image.diff_ids))
    return lambda c: c.record.image_id in ids or c.record.image_name in names or any(d and c.record.diff_ids[: len(d)] == d for d in diffs)


def _ports(text: str, key: str) -> set[str]:
    port, _, protocol = text.partition("/")
    first, dash, last = port.partition("-")
    numbers = (first, last) if dash else (first,)
    if not all(re.fullmatch("[0-9]{1,5}", n) and int(n) < 1 << 16 for n in numbers):
        raise Invalid(f"invalid filter '{key}={text}': invalid port")
    return {f"{n}/{protocol or 'tcp'}" for n in range(int(first), int(last or first) + 1)}


def _publishes(ctx: Containers, ports: set[str]) -> Predicate:
    return lambda c: any(f"{b.host_port}/{b.protocol}" in ports for b in ctx.networks.ports.bindings_of(c.id))


def _exposes(ports: set[str]) -> Predicate:
    return lambda c: bool(ports & set(c.record.config.exposed_ports or {}))
