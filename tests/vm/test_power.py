"""The power is cut under a pull and under a stream of small changes: what was acknowledged is there, what is there is whole, and the pull goes on.

The machine is a virtual one that is killed: the guest's page cache is lost, what its disk has been given stays. Some minutes: make vm-test-all.
"""

import json
import os
import re
import subprocess
from collections import defaultdict
from operator import ge
from pathlib import Path
from typing import Any

import pytest

from .boot import Boot, boot
from .test_smoke import machine

pytestmark = pytest.mark.skipif("PIER_VM_SUITES" not in os.environ, reason="four boots: make vm-test-all")
CUTS = ((3, 0), (8, 10 << 20), (20, 20 << 20))
"""After how many acknowledged changes of a boot, and bytes of the pull, the power is cut."""
TOLD = re.compile(r"^(STATE|ACK|CAME|GOING|GONE|PULLED|SERVED) (\{.*\})\r?$", re.M)


def told(log: str, kind: str) -> list[dict[str, Any]]:
    return [json.loads(text) for found, text in TOLD.findall(log) if found == kind]


class Kept:
    """What was acknowledged in all boots so far."""

    def __init__(self) -> None:
        self.there: dict[str, set[str]] = defaultdict(set)
        self.going: set[str] = set()  # nobody knows
        self.gone: set[str] = set()

    def hear(self, log: str) -> None:
        for each in told(log, "ACK"):
            for kind, name in each.items():
                self.there[kind].add(name)
        self.going |= {each["containers"] for each in told(log, "GOING")}
        self.gone |= {each["containers"] for each in told(log, "GONE")}

    def check(self, state: dict[str, Any]) -> None:
        for kind in ("volumes", "tags"):
            assert self.there[kind] <= set(state[kind]), f"lost {kind}: {self.there[kind] - set(state[kind])}"
        containers = state["containers"]
        assert not self.gone & set(containers), f"came back: {self.gone & set(containers)}"
        assert self.there["containers"] - self.going <= set(containers), f"lost containers: {self.there['containers'] - self.going - set(containers)}"
        assert all(volume in state["volumes"] for volume in containers.values()), "a container without its volume"


def test_what_was_acknowledged_outlives_the_power(tmp_path: Path) -> None:
    disk, kept = tmp_path / "kept.img", Kept()
    subprocess.run(["mkfs.ext4", "-q", disk, "600M"], check=True)
    with machine():
        for number, due in enumerate(CUTS, start=1):
            done = started(tmp_path, disk, number, cut=lambda log: all(map(ge, far(log), due)))  # noqa: B023 - called at once
            look(done, kept, number)
            assert not done.ended, f"the power was not cut:\n{done.log[-6000:]}"
            kept.hear(done.log)
        last = started(tmp_path, disk, len(CUTS) + 1)
    look(last, kept, len(CUTS) + 1)
    assert last.ended and not any(last.verdicts.values()), f"{last.verdicts}\n{last.log[-6000:]}"
    assert told(last.log, "PULLED")[0]["code"] == 0
    asked = told(last.log, "SERVED")[0]["bytes"]
    assert any(re.match(r"bytes=[1-9]", text) for text in asked), f"the pull began again from nothing: {asked}"


def far(log: str) -> tuple[int, int]:
    """How many changes were acknowledged, and how many bytes of the pull had come."""
    return len(told(log, "ACK")), max((each["bytes"] for each in told(log, "CAME")), default=0)


def started(folder: Path, disk: Path, number: int, **cut: Any) -> Boot:
    """One boot, until its end or the cut."""
    (folder / str(number)).mkdir()
    words = ("pier.guest=power", f"pier.boot={number}", *(() if cut else ("pier.last",)))
    return boot("bookworm", folder / str(number), *words, disks=(disk,), **cut)


def look(done: Boot, kept: Kept, number: int) -> None:
    """What a boot found is what was acknowledged before, and whole."""
    (state,) = told(done.log, "STATE") or pytest.fail(f"boot {number} never came so far:\n{done.log[-6000:]}")
    kept.check(state)
    assert done.verdicts.get(f"check-{number}") == "", f"{done.verdicts}\n{done.log[-6000:]}"
