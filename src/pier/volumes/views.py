"""Volumes as the API shows them, and its filters. Pure. Texts are Docker's (Engine 28.5)."""

import time
from collections.abc import Callable, Mapping, Sequence

from msgspec import UNSET

from pier.api.models.volumes import Volume
from pier.errors import Invalid
from pier.volumes.driver import Found
from pier.volumes.local_driver import NAME
from pier.volumes.options import ANONYMOUS_LABEL, limit
from pier.volumes.records import VolumeRecord

_LIST = ("dangling", "driver", "label", "name")
_PRUNE = ("all", "label", "label!")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def describe(record: VolumeRecord, found: Found, scope: str = "local") -> Volume:
    """The wire form of a volume; found: as its driver has it."""
    return Volume(
        created_at=found.created_at or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created_ns // 10**9)),
        driver=record.driver,
        labels=None if record.labels is None else dict(record.labels),
        mountpoint=found.mountpoint,
        name=record.name,
        options=None if record.options is None else dict(record.options),
        scope=scope,
        status=dict(found.status) or _limit(record) or UNSET,
    )


def _limit(record: VolumeRecord) -> dict[str, object]:
    size = limit(record.options) if record.driver == NAME else 0
    return {"Limit": size} if size else {}


def choose(records: Sequence[VolumeRecord], filters: Mapping[str, Sequence[str]], in_use: Callable[[str], bool]) -> list[VolumeRecord]:
    """The volumes that pass every filter. in_use: whether a container has a volume. Raises Invalid."""
    for key, values in filters.items():
        if key not in _LIST:
            raise Invalid(f"invalid filter '{key}'")
        if key == "dangling":
            _boolean(key, values)
    return [record for record in records if all(_passes(record, key, values, in_use) for key, values in filters.items() if values)]


def _passes(record: VolumeRecord, key: str, values: Sequence[str], in_use: Callable[[str], bool]) -> bool:
    if key == "name":
        return any(value in record.name for value in values)
    if key == "driver":
        return record.driver in values
    if key == "label":
        return _has_labels(record, values)
    return _boolean(key, values) != in_use(record.name)


def prunable(records: Sequence[VolumeRecord], filters: Mapping[str, Sequence[str]]) -> list[VolumeRecord]:
    """What a prune may take, whether it is in use left aside: anonymous volumes, with `all` the named ones, too. Raises Invalid."""
    for key, values in filters.items():
        if key not in _PRUNE:
            raise Invalid(f"invalid filter '{key}'")
        if key == "all":
            _boolean(key, values)
    everything = bool(filters.get("all")) and _boolean("all", filters["all"])
    chosen = [record for record in records if everything or ANONYMOUS_LABEL in (record.labels or {})]
    wanted, unwanted = filters.get("label", ()), filters.get("label!", ())
    return [r for r in chosen if _has_labels(r, wanted) and not (unwanted and _has_labels(r, unwanted))]


def _has_labels(record: VolumeRecord, wanted: Sequence[str]) -> bool:
    """All of them: `key` for any value, `key=value`."""
    labels = record.labels or {}
    return all(labels.get(key) == value if equals else key in labels for key, equals, value in (text.partition("=") for text in wanted))


def _boolean(key: str, values: Sequence[str]) -> bool:
    if len(values) != 1 or values[0].lower() not in _BOOLEANS:
        raise Invalid(f"invalid value for filter '{key}', must be \"true\" (or \"1\"), or \"false\" (or \"0\")")
    return _BOOLEANS[values[0].lower()]
