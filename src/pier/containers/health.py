"""Whether a container is well: how its checks are run, and what becomes of their answers. Pure.

Rules, defaults and texts are those of Docker Engine 28.5 (API 1.51, `HealthConfig` and `Health`); durations are nanoseconds.
"""

from dataclasses import dataclass
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from pier.api.models.containers import ContainerConfig, HealthConfig
from pier.containers.phrases import go_duration
from pier.errors import Invalid

Status = Literal["starting", "healthy", "unhealthy"]
KEPT = 5
"""So many answers are kept."""
OUTPUT_BYTES = 4096
"""So much of a check's output is kept."""
FAILED = -1
"""The exit code of a check that could not be run, or took too long."""
_MIN_NS = 10**6
_INTERVAL_NS = _TIMEOUT_NS = 30 * 10**9
_START_INTERVAL_NS = 5 * 10**9
_RETRIES = 3
_SHELL = ("/bin/sh", "-c")
_KINDS = ("NONE", "CMD", "CMD-SHELL")
_DURATIONS = (("interval", "Interval"), ("timeout", "Timeout"), ("start_period", "StartPeriod"), ("start_interval", "StartInterval"))


class Check(msgspec.Struct, frozen=True):
    """The answer of one check: when it was begun and ended, the exit code of its command, what it wrote."""

    start_ns: int
    end_ns: int
    exit_code: int
    output: str


class Health(msgspec.Struct, frozen=True):
    """What is known of a container with checks; `log` has the last answers, the latest at its end."""

    status: Status = "starting"
    failing_streak: int = 0
    log: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Rules:
    """How a container is checked: a command, and when it counts as failed."""

    command: tuple[str, ...]
    interval_ns: int = _INTERVAL_NS
    timeout_ns: int = _TIMEOUT_NS
    start_period_ns: int = 0
    start_interval_ns: int = _START_INTERVAL_NS
    retries: int = _RETRIES


def check(wanted: HealthConfig | UnsetType) -> None:
    """Refuse what a request asks for and nobody could do. Raises Invalid; the texts of durations and retries are Docker's."""
    if wanted is UNSET:
        return
    for attribute, name in _DURATIONS:
        value = getattr(wanted, attribute)
        if value is not UNSET and value and value < _MIN_NS:
            raise Invalid(f"{name} in Healthcheck cannot be less than 1ms")
    if wanted.retries is not UNSET and wanted.retries < 0:
        raise Invalid("Retries in Healthcheck cannot be negative")
    test = wanted.test or []
    if test and test[0] not in _KINDS:
        raise Invalid(f"Test in Healthcheck begins with {test[0]!r}: the first word has to be one of {', '.join(_KINDS)}")
    if test and test[0] != "NONE" and len(test) == 1:
        raise Invalid(f"Test in Healthcheck has no command after {test[0]}")
    for word in test:
        if "\0" in word:
            raise Invalid(f"invalid NUL byte in {word!r}")


def merged(wanted: HealthConfig | UnsetType, image: HealthConfig | UnsetType) -> HealthConfig | UnsetType:
    """A request's part with the image's in the place of what it leaves out, field by field, as Docker merges them."""
    if wanted is UNSET or image is UNSET:
        return image if wanted is UNSET else wanted
    return HealthConfig(**{name: getattr(wanted, name) or getattr(image, name) for name in HealthConfig.__struct_fields__})


def rules(config: ContainerConfig) -> Rules | None:
    """How to check a container of this configuration; None where it is not to be checked, or the image asks for what nobody knows."""
    found = config.healthcheck
    test = found.test if found is not UNSET else UNSET
    if found is UNSET or not test or test[0] not in ("CMD", "CMD-SHELL"):
        return None
    shell = tuple(config.shell or _SHELL) if test[0] == "CMD-SHELL" else ()
    retries = found.retries or 0
    return Rules(
        command=(*shell, *test[1:]),
        interval_ns=found.interval or _INTERVAL_NS,
        timeout_ns=found.timeout or _TIMEOUT_NS,
        start_period_ns=found.start_period or 0,
        start_interval_ns=found.start_interval or _START_INTERVAL_NS,
        retries=retries if retries > 0 else _RETRIES,
    )


def begun(before: Health | None) -> Health:
    """A run begins: nothing is known of it, the answers of the last one stay in the log."""
    return Health(log=before.log if before is not None else ())


def halted(now: Health) -> Health:
    """Nobody checks any more (it was paused, or has ended): that counts as unhealthy, and no event tells of it."""
    return Health("unhealthy", now.failing_streak, now.log)


def after(now: Health, answer: Check, wanted: Rules, started_ns: int) -> Health:
    """What is known after an answer. Before the first success failures within the start period do not count."""
    log = (*now.log[1 - KEPT :], answer)
    if answer.exit_code == 0:
        return Health("healthy", 0, log)
    if now.status == "starting" and answer.start_ns - started_ns < wanted.start_period_ns:
        return Health(now.status, now.failing_streak, log)
    streak = now.failing_streak + 1
    return Health("unhealthy" if streak >= wanted.retries else now.status, streak, log)


def pause_ns(now: Health, wanted: Rules, up_ns: int) -> int:
    """The time from the end of a check, or from the start, to the next one of a container that is up for `up_ns`."""
    return wanted.start_interval_ns if up_ns < wanted.start_period_ns and now.status == "starting" else wanted.interval_ns


def output(data: bytes) -> str:
    """What is kept of a check's output; three dots stand for what is not."""
    text = data[:OUTPUT_BYTES].decode(errors="replace")
    return f"{text}..." if len(data) > OUTPUT_BYTES else text


def too_late(wanted: Rules, written: str) -> str:
    """What the log says of a check that did not answer in time."""
    said = f"Health check exceeded timeout ({go_duration(wanted.timeout_ns)})"
    return f"{said}: {written}" if written else said


def label(now: Health) -> str:
    """`healthy`, `health: starting`: as the status of a list has it."""
    return "health: starting" if now.status == "starting" else now.status
