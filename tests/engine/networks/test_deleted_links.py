"""Links that somebody deletes by hand, on the host or inside a container, are there again a moment later, as they were."""

import os
import time
from collections.abc import Iterator

import pytest

from tests.harness import leaks
from tests.harness.commands import eventually, run
from tests.harness.engine import Engine

from .test_user_networks import create, run_in, start


@pytest.fixture
def box(engine: Engine) -> Iterator[int]:
    """A container `box` in the networks lan (both families) and zone, another one, `peer`, in lan; the pid of the first."""
    create(engine, "lan", "10.83.0.0/24 fd00:83::/64", EnableIPv6=True)
    create(engine, "zone", "10.84.0.0/24")
    start(engine, "peer", "lan")
    start(engine, "box", "lan")
    engine.pier("network", "connect", "zone", "box").ok()
    yield int(engine.api.get("/containers/box/json")["State"]["Pid"])
    for name in ("box", "peer"):
        engine.api("DELETE", f"/containers/{name}", force=True)
    for name in ("lan", "zone"):
        engine.api("DELETE", f"/networks/{name}")


def inside(pid: int) -> set[str]:
    """What a container has of its networks: MACs, addresses, routes, permanent neighbours."""
    words = "ip link | grep ether; ip addr show scope global | grep inet; ip route; ip -6 route | grep -v ^fe80; ip neigh | grep PERMANENT"
    return {line.strip() for line in run(["nsenter", "--target", str(pid), "--net", "sh", "-c", words]).out.splitlines()}


def works(engine: Engine) -> bool:
    return all(run_in(engine, "box", "ping", "-c", "1", "-W", "1", where)[0] == 0 for where in ("peer", "10.83.0.1", "fd00:83::1", "10.84.0.1"))


def delete(engine: Engine, pid: int, where: str) -> None:
    if where == "host":
        number = run(["nsenter", "--target", str(pid), "--net", "ip", "-o", "link", "show", "eth0"]).ok().out.split("@if")[1].split(":")[0]
        names = run([*engine.namespaces.argv(), "ip", "-o", "link"]).ok().out.splitlines()
        name = next(line.split(": ")[1].split("@")[0] for line in names if line.startswith(f"{number}: "))
        run([*engine.namespaces.argv(), "ip", "link", "del", name]).ok()
    elif where == "bridge":
        run([*engine.namespaces.argv(), "ip", "link", "del", f"br-{engine.api.get('/networks/lan')['Id'][:12]}"]).ok()
    else:
        run(["nsenter", "--target", str(pid), "--net", "ip", "link", "del", "eth0" if where == "inside" else "eth1"]).ok()


@pytest.mark.parametrize("where", ["host", "inside", "second", "bridge"])
def test_a_link_that_somebody_deletes_is_made_again_as_it_was(engine: Engine, box: int, where: str) -> None:
    eventually(lambda: works(engine), says="everything is there")
    before = inside(box)
    assert all(any(part in line for line in before) for part in ("default via 10.83.0.1", "fd00:83::", "10.84.0.", "PERMANENT"))
    delete(engine, box, where)
    eventually(lambda: inside(box) == before and works(engine), 20.0, says="everything is there again, as it was")


def test_links_of_containers_that_end_or_are_disconnected_stay_away(engine: Engine, box: int) -> None:
    told, before = engine.log_text().count("made again"), len(leaks.links_of_containers(engine))
    engine.pier("network", "disconnect", "zone", "box").ok()
    os.kill(box, 9)
    engine.api("DELETE", "/containers/box", force=True)
    engine.pier("run", "--rm", "--network", "lan", "busybox", "true").ok()
    left = before - 2
    eventually(lambda: len(leaks.links_of_containers(engine)) == left, says="both of its links are gone")
    time.sleep(2.6)  # a repair would have come by now (networks/watch.py)
    assert len(leaks.links_of_containers(engine)) == left and engine.log_text().count("made again") == told


def test_one_that_went_while_no_daemon_ran_is_made_again_at_its_start(engine: Engine, box: int) -> None:
    before = inside(box)
    engine.stop()
    delete(engine, box, "inside")
    delete(engine, box, "second")
    engine.start()
    eventually(lambda: inside(box) == before and works(engine), 20.0, says="everything is there again, as it was")
