"""A container that starts again, at once, many times, after failures and after a pause: each start has cgroups of its own."""

import time

from tests.harness.engine import Engine


def test_a_start_that_failed_fails_the_same_way_again(engine: Engine) -> None:
    engine.pier("create", "--name", "wrong", "busybox", "nope").ok()
    began = time.monotonic()
    for _ in range(5):
        engine.pier("start", "wrong").fails(1, 'exec: "nope": executable file not found in $PATH')
    assert time.monotonic() - began < 10  # the limit of one start that waits for something


def test_a_start_long_after_the_create(engine: Engine) -> None:
    """The blank child of the create was let go meanwhile."""
    made = engine.api("POST", "/containers/create", {"Image": "busybox:latest", "Cmd": ["true"]}).ok(201).json["Id"]
    time.sleep(10.5)  # create.KEEP_CHILD_S
    engine.pier("start", "--attach", made).ok()


def test_restarts_one_after_another_never_meet_the_janitor(engine: Engine) -> None:
    """It removes the cgroups of the last run while those of the next are made, in the same folders."""
    container = engine.pier("run", "-d", "-m", "64m", "--pids-limit", "50", "busybox", "sleep", "60").ok().line
    for _ in range(25):
        engine.pier("restart", "-t", "0", container).ok()
    assert engine.api.get(f"/containers/{container}/json")["State"]["Running"]
    for path in engine.cgroups():
        if path.name == container and "/pids/" in f"{path}/":
            assert (path / "pids.max").read_text().strip() == "50"
            assert (path / "cgroup.procs").read_text().split() == [str(engine.api.get(f"/containers/{container}/json")["State"]["Pid"])]


def test_an_out_of_memory_kill_is_of_one_run_only(engine: Engine) -> None:
    script = "if [ -e /again ]; then exit 3; fi; touch /again; tail /dev/zero"
    engine.pier("run", "--name", "greedy", "-m", "24m", "busybox", "sh", "-c", script).fails(137)
    assert engine.api.get("/containers/greedy/json")["State"]["OOMKilled"] is True
    engine.pier("start", "--attach", "greedy").fails(3)
    assert engine.api.get("/containers/greedy/json")["State"]["OOMKilled"] is False
