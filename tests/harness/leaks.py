"""The leak check: what an engine holds, counted by kind with identities taken out, so that before and after a test can be compared.

Seen are mounts (in every mount namespace of the daemon and its helpers), cgroups, network namespaces, links, addresses, routes, nftables objects
and elements, processes, open descriptors of the daemon and its helpers, files under both roots, and records without files or files without records.
"""

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from .commands import run
from .engine import Engine

IDENTITY = re.compile(r"[0-9a-f]{64}|[0-9a-f]{12,40}")
NUMBER = re.compile(r"\d+")
SETTLE_S = 10.0
WORKERS = os.cpu_count() or 1

# A worker is started on demand and stays for a while; a bigger database or log is no leak.
IGNORED_FILES = re.compile(r"(state|volatile)\.db(-wal|-shm|\.backup.*|.*backup)?$|engine-id$")


def anonymous(text: str) -> str:
    """A name with IDs and hashes taken out."""
    return IDENTITY.sub("<id>", text)


_CLEANED = re.compile(r"-\d+ (cgroups|descriptors|processes): ")
POOL_SIZE, FULL_S = 4, 12.0
"""Blank children that wait when the engine is at rest, and how long it may take until only they are there (a create's waits 10 s)."""


def snapshot(engine: Engine) -> Counter[str]:
    """Everything the engine holds now: kind and anonymous name, counted; the pool of blank children is filled first."""
    end = time.monotonic() + FULL_S
    while len(engine.pids_of("blank")) != POOL_SIZE and time.monotonic() < end:
        time.sleep(0.02)
    found: Counter[str] = Counter()
    for part in (processes, mounts, cgroups, network, descriptors, files, records):
        found.update(f"{part.__name__}: {what}" for what in part(engine))
    return found


def difference(before: Counter[str], after: Counter[str]) -> list[str]:
    """One line for each thing that is there more or less often than before."""
    changed = [(name, after[name] - before[name]) for name in sorted(before | after) if after[name] != before[name]]
    return [f"{count:+d} {name}" for name, count in changed]


def settled(engine: Engine, before: Counter[str], limit_s: float = SETTLE_S) -> list[str]:
    """Wait until the engine holds what it held before; the difference that is left at the limit, [] where there is none.

    Fewer cgroups, descriptors or processes than before are no leak: what an earlier test left to the janitor was still there then.
    """
    end = time.monotonic() + limit_s
    while left := [line for line in difference(before, snapshot(engine)) if not _CLEANED.match(line)]:
        if time.monotonic() > end:
            return left
        time.sleep(0.1)
    return []


def own(engine: Engine) -> dict[int, str]:
    """The daemon and its lasting helpers: pid -> name. Workers come and go and are left out."""
    named = {pid: name for name in ("keeper", "launcher", "netd", "pump") for pid in engine.pids_of(name)}
    return {engine.pid: "daemon", **named}


def processes(engine: Engine) -> Iterator[str]:
    for pid in engine.namespaces.processes():
        title = engine._title(pid)
        if title and title != "pier-worker" and not forked_inside(pid):
            yield title


def forked_inside(pid: int) -> bool:
    """Whether a container made this process for itself (its pid namespace has another one as 1): its own affair; the canary does so all the time."""
    try:
        numbers = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("NSpid:")).split()[1:]
    except (OSError, StopIteration):
        return True  # it has ended
    return len(numbers) > 1 and numbers[-1] != "1"


def mounts(engine: Engine) -> Iterator[str]:
    seen = set()
    for pid, name in own(engine).items():
        try:
            namespace = os.readlink(f"/proc/{pid}/ns/mnt")
            if namespace not in seen:
                seen.add(namespace)
                for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
                    left, _, right = line.partition(" - ")
                    yield anonymous(f"{name}: {left.split()[4]} {right.split()[0]}")
        except OSError:
            continue


def cgroups(engine: Engine) -> Iterator[str]:
    for path in engine.cgroups():
        yield anonymous(str(path.relative_to("/sys/fs/cgroup")))


def network(engine: Engine) -> Iterator[str]:
    addresses = run(engine.namespaces.argv("ip", "-json", "address")).ok()
    for link in json.loads(addresses.out or "[]"):
        name = anonymous(re.sub(r"[0-9a-f]{7,}", "<id>", link["ifname"])) if link["ifname"] not in ("lo",) else "lo"
        yield f"link {name} {link.get('operstate', '')}"
        for address in link.get("addr_info", []):
            if address["family"] == "inet":
                yield f"address {name} {address['local']}/{address['prefixlen']}"
    for route in json.loads(run(engine.namespaces.argv("ip", "-json", "route")).ok().out or "[]"):
        yield f"route {route.get('dst')} {re.sub(r'[0-9a-f]{7,}', '<id>', route.get('dev', ''))}"
    for line in run(engine.namespaces.argv("nft", "--stateless", "list", "ruleset")).ok().out.splitlines():
        yield f"nft {anonymous(line.strip())}"


def links_of_containers(engine: Engine) -> list[str]:
    """The host's ends of containers' links (pier.networks.endpoints)."""
    links = json.loads(run(engine.namespaces.argv("ip", "-json", "link")).ok().out or "[]")
    return [link["ifname"] for link in links if re.fullmatch(r"pier[0-9a-f]{10}", link["ifname"])]


def descriptors(engine: Engine) -> Iterator[str]:
    for pid, name in own(engine).items():
        try:
            numbers = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for number in numbers:
            try:
                target = os.readlink(f"/proc/{pid}/fd/{number}")
            except OSError:
                continue
            if target.startswith("socket:"):
                continue  # connections of clients and workers; counted by the daemon's own ends below
            yield anonymous(f"{name}: {NUMBER.sub('N', target.replace(str(engine.roots), ''))}")


def files(engine: Engine) -> Iterator[str]:
    for root in (engine.exec_root, engine.data_root):
        for folder, names, leaves in os.walk(root):
            relative = os.path.relpath(folder, engine.roots)
            if relative.endswith("/snapshots/.pool"):  # made ahead: how many there are depends on the moment; those in use half-way do not belong
                yield from (f"{relative}: a folder half taken" for name in names if os.path.lexists(os.path.join(folder, name, "layers")))
                names.clear()
            if relative.count("/") >= 4 or "/upper" in relative or "/fs" in relative:
                names.clear()  # what containers wrote is theirs
            for leaf in leaves + names:
                if not IGNORED_FILES.search(leaf):
                    yield anonymous(f"{relative}/{leaf}")


def records(engine: Engine) -> Iterator[str]:
    ids = set(engine.containers())
    folder = engine.data_root / "containers"
    kept = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
    yield from (f"folder of no container: {anonymous(name)}" for name in kept - ids)
    yield from (f"container without its folder: {anonymous(name)}" for name in ids - kept)
    yield f"containers: {len(ids)}"
    yield f"images: {len(engine.api.get('/images/json', all=True))}"
