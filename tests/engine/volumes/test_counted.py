"""Containers that have a volume with a limit do not change how their files are counted, whatever their profile; others are as they were.

The limit is written into the database, so that this needs no file system with quotas: tests/vm has one, and looks whether limits hold.
"""

import os
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine.attacks import attacker
from tests.harness import images
from tests.harness.engine import Engine

PROBE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def ask(number, *args):
    ctypes.set_errno(0)
    libc.syscall(*[ctypes.c_long(a) for a in (number, *args)])
    return os.strerror(ctypes.get_errno())
commands = (0x401c5820, 0x40086602, 0x40046602, 0x7_401c5820, 0x801c581f)
print(*["refused" if ask(16, 0, c, 0) == "Operation not permitted" else "free" for c in commands], ask(469, -1, 0, 0, 0, 0))
"""
HELD = "refused refused refused refused free Operation not permitted"
pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86-64")


@pytest.fixture(scope="module")
def limited() -> Iterator[Engine]:
    """An engine with the volumes `held`, which it believes to have a limit, and `free`."""
    with Engine() as engine:
        links = {name: os.readlink(f"/{name}") for name in ("lib", "lib64") if os.path.islink(f"/{name}")}
        attacker.load(engine, "attacker", images.layer(dict(links)))
        for name in ("held", "free"):
            engine.api("POST", "/volumes/create", {"Name": name}).ok(201)
        engine.stop()
        with sqlite3.connect(engine.data_root / "state.db") as state:
            state.execute("INSERT INTO volume_project (volume, size) VALUES ('held', 1048576)")
        state.close()
        engine.start()
        yield engine


def probe(engine: Engine, *volumes: str, **host: Any) -> str:
    return attacker.run(engine, [*attacker.PYTHON, PROBE], {"Binds": [*attacker.BINDS, *volumes], **host})[1].strip()


@pytest.mark.parametrize(
    "options", [[], ["seccomp=unconfined"], ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}'], ["seccomp=unconfined", "no-new-privileges"]]
)
def test_what_counts_files_is_not_changed_whatever_the_profile(limited: Engine, options: list[str]) -> None:
    said = probe(limited, "held:/v", SecurityOpt=options)
    assert said == HELD if options else said.startswith("refused refused refused refused free")  # of file_setattr Pier's profile never heard


def test_a_user_without_capabilities_and_a_container_with_more_are_held_too(limited: Engine) -> None:
    assert probe(limited, "held:/v", CapAdd=["ALL"], SecurityOpt=["seccomp=unconfined"]) == HELD
    host = {"Binds": [*attacker.BINDS, "held:/v"], "SecurityOpt": ["seccomp=unconfined"]}
    made = attacker.create(limited, [*attacker.PYTHON, PROBE], host, User="1000")
    limited.api("POST", f"/containers/{made}/start").ok(204)
    assert attacker.end(limited, made)[1].strip() == HELD


def test_others_are_not_touched(limited: Engine) -> None:
    free = probe(limited, "free:/v", SecurityOpt=["seccomp=unconfined"])
    assert free.split()[:5] == ["free"] * 5 and "not permitted" not in free
    assert probe(limited, "held:/v", Privileged=True).split()[:5] == ["free"] * 5


def test_execs_are_held_and_a_volume_that_comes_later_waits_for_the_next_start(limited: Engine) -> None:
    held, free = (
        attacker.start(limited, ["sleep", "300"], {"Binds": [*attacker.BINDS, f"{volume}:/v"], "SecurityOpt": ["seccomp=unconfined"]})
        for volume in ("held", "free")
    )
    words = ("exec", held, *attacker.PYTHON, PROBE)
    assert limited.pier(*words).ok().out.strip() == HELD
    assert limited.pier("exec", free, *attacker.PYTHON, PROBE).ok().out.split()[:5] == ["free"] * 5
    later = {"Add": [{"Type": "volume", "Source": "held", "Target": "/later"}], "Remove": []}
    refused = limited.api("POST", f"/pier/containers/{free}/mounts", later)
    refused.refused(409, "volume held has a limit, which processes that run already could evade: stop container")
    assert "/later" not in {mount["Destination"] for mount in limited.api.get(f"/containers/{free}/json")["Mounts"]}
    limited.api("POST", f"/pier/containers/{held}/mounts", later).ok(204)
    limited.api("POST", f"/containers/{free}/stop", t=0).ok(204)
    limited.api("POST", f"/pier/containers/{free}/mounts", later).ok(204)
    limited.api("POST", f"/containers/{free}/start").ok(204)
    assert limited.pier("exec", free, *attacker.PYTHON, PROBE).ok().out.strip() == HELD
    for container in (held, free):
        limited.api("DELETE", f"/containers/{container}", force=True).ok(204)
