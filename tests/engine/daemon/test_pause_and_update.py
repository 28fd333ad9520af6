"""Paused containers and limits that change: what the kernel has, and what a daemon that was killed leaves to the next."""

from pathlib import Path
from typing import Any

from tests.harness.commands import eventually
from tests.harness.engine import Engine

COUNTS = ["sh", "-c", "trap 'exit 5' TERM USR1; while :; do echo x; sleep 0.05; done"]


def run(engine: Engine, *command: str, **host: Any) -> str:
    body = {"Image": "busybox:latest", "Cmd": list(command) or COUNTS, "HostConfig": host}
    made = str(engine.api("POST", "/containers/create", body).ok(201).json["Id"])
    engine.api("POST", f"/containers/{made}/start").ok(204)
    return made


def state(engine: Engine, container: str) -> dict[str, Any]:
    return dict(engine.api.get(f"/containers/{container}/json")["State"])


def moves(engine: Engine, container: str) -> bool:
    """Whether it writes."""
    size = len(engine.api("GET", f"/containers/{container}/logs", stdout=True).body)
    try:
        return bool(eventually(lambda: len(engine.api("GET", f"/containers/{container}/logs", stdout=True).body) > size, limit_s=0.5))
    except AssertionError:
        return False


def limit(engine: Engine, container: str, *names: str) -> str:
    """The text of the first cgroup file of these names."""
    found = [path / name for path in engine.cgroups() if path.name == container for name in names if (path / name).exists()]
    return Path(found[0]).read_text().strip()


def test_a_paused_container_stands_still_until_it_is_told_otherwise(engine: Engine) -> None:
    name = run(engine)
    assert moves(engine, name)
    engine.pier("pause", name).ok()
    now = state(engine, name)
    assert (now["Status"], now["Running"], now["Paused"]) == ("paused", True, True) and not moves(engine, name)
    assert "(Paused)" in engine.pier("ps", "--filter", "status=paused").ok().out
    engine.pier("pause", name).fails(1, f"Container {name} is already paused")
    engine.pier("exec", name, "true").fails(1, f"Container {name} is paused, unpause the container before exec")
    engine.pier("start", name).fails(1, "cannot start a paused container, try unpause instead")
    engine.pier("rm", name).fails(1, "container is paused and must be unpaused first")
    assert "sleep 0.05" in engine.pier("top", name).ok().out
    engine.pier("commit", name, "of-a-paused").ok()
    engine.pier("rmi", "of-a-paused").ok()
    assert state(engine, name)["Paused"] and not moves(engine, name)
    engine.pier("unpause", name).ok()
    assert moves(engine, name) and not state(engine, name)["Paused"]
    engine.pier("unpause", name).fails(1, f"Container {name} is not paused")
    engine.pier("pause", name).ok()
    engine.pier("stop", name).ok()
    assert state(engine, name)["ExitCode"] == 5
    engine.pier("pause", name).fails(1, f"container {name} is not running")


def test_paused_containers_end_as_others_do(engine: Engine) -> None:
    killed, removed = run(engine), run(engine)
    engine.pier("pause", killed, removed).ok()
    engine.pier("kill", killed).ok()
    eventually(lambda: state(engine, killed)["Status"] == "exited", says="it is killed")
    engine.pier("rm", "-f", killed, removed).ok()


def test_limits_and_policy_of_a_running_container(engine: Engine) -> None:
    name = run(engine, Memory=64 << 20, MemorySwap=64 << 20)
    before = limit(engine, name, "pids.max")
    engine.pier("update", "--memory", "96m", "--memory-swap", "128m", "--cpus", "0.5", "--pids-limit", "50", "--restart", "on-failure:2", name).ok()
    host = engine.api.get(f"/containers/{name}/json")["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"]) == (96 << 20, 128 << 20, 500_000_000, 50)
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert limit(engine, name, "memory.limit_in_bytes", "memory.max") == str(96 << 20)
    assert limit(engine, name, "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert limit(engine, name, "pids.max") == "50"
    engine.pier("update", "--memory", "32m", "--memory-swap", "48m", "--pids-limit", "-1", name).ok()
    assert limit(engine, name, "memory.limit_in_bytes", "memory.max") == str(32 << 20) and limit(engine, name, "pids.max") == before
    text = "Memory limit should be smaller than already set memoryswap limit"
    engine.pier("update", "--memory", "256m", name).fails(1, f"Cannot update container {name}: {text}")
    engine.pier("update", "--blkio-weight", "10", name).fails(125, "--blkio-weight is not supported by Pier yet")
    engine.api("POST", f"/containers/{name}/update", {"BlkioWeight": 10}).refused(400, "BlkioWeight")
    engine.api("POST", f"/containers/{name}/exec", {"Cmd": ["true"]}).ok(201)
    engine.pier("kill", "--signal", "USR1", name).ok()  # the policy of now brings it back
    eventually(lambda: (found := engine.api.get(f"/containers/{name}/json"))["RestartCount"] == 1 and found["State"]["Status"] == "running")
    assert limit(engine, name, "memory.limit_in_bytes", "memory.max") == str(32 << 20)
    engine.pier("update", "--restart", "no", name).ok()


def test_what_a_killed_daemon_had_begun_is_finished_by_the_next(fresh_engine: Engine) -> None:
    engine = fresh_engine
    name = run(engine)
    engine.pier("pause", name).ok()
    engine.kill("daemon")
    engine.start()
    assert state(engine, name)["Paused"] and not moves(engine, name)
    for point, verb, wanted in (("unpause.recorded", "unpause", False), ("pause.recorded", "pause", True)):
        engine.restart(PIER_FAIL=f"{point}:kill")
        assert engine.pier(verb, name).code
        engine.start()
        assert state(engine, name)["Paused"] is wanted and moves(engine, name) is not wanted
    engine.pier("unpause", name).ok()
    engine.restart(PIER_FAIL="update.recorded:kill")
    assert engine.pier("update", "--pids-limit", "33", name).code
    engine.start()
    assert engine.api.get(f"/containers/{name}/json")["HostConfig"]["PidsLimit"] == 33 and limit(engine, name, "pids.max") == "33"
