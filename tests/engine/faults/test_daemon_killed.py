"""kill -9 of the daemon at every point of create, start, exit, stop, remove, rename and exec, then a fresh one.

What was acknowledged is there, what was not is whole or gone, containers have not noticed, and nothing is left over (the fixture).
"""

import pytest

from tests.engine.faults import steps
from tests.harness.commands import eventually
from tests.harness.engine import Engine


def armed(engine: Engine, point: str) -> None:
    """Another daemon, which kills itself at that point."""
    engine.stop()
    engine.start(PIER_FAIL=f"{point}:kill")


def again(engine: Engine) -> str:
    """Wait for the death and start a fresh daemon; what that one has written to its log."""
    steps.died(engine)
    before = len(engine.log_text())
    engine.start()
    return engine.log_text()[before:]


@pytest.mark.parametrize("point", ["create.snapshot", "snapshots.create", "snapshots.created", "create.folder", "create.record"])
def test_a_create_that_was_not_acknowledged_is_gone(broken: Engine, point: str) -> None:
    kept = set(broken.containers())
    armed(broken, point)
    assert steps.attempt(broken, "POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"]}, name="unborn") is None
    again(broken)
    assert set(broken.containers()) == kept
    assert steps.exit_code(broken, steps.start(broken, "true", name="unborn")) == 0


def test_a_create_that_was_written_is_whole(broken: Engine) -> None:
    armed(broken, "create.done")
    assert steps.attempt(broken, "POST", "/containers/create", {"Image": "busybox", "Cmd": ["echo", "whole"]}, name="whole") is None
    again(broken)
    assert steps.listed(broken, broken.api.get("/containers/whole/json")["Id"]) == "created"
    broken.api("POST", "/containers/whole/start").ok(204)
    assert steps.exit_code(broken, "whole") == 0
    assert b"whole" in steps.logs(broken, "whole")


@pytest.mark.parametrize(
    ("point", "earlier"),
    [("start.child", False), ("start.network", False), ("start.streams", False), ("start.root", False), ("start.limits", False),
     ("start.run", False), ("start.child", True), ("start.run", True)],
)  # fmt: skip
def test_a_start_that_was_not_acknowledged_can_be_made_again(broken: Engine, point: str, earlier: bool) -> None:
    """earlier: another daemon made the container, so that its child is no longer there and the start makes one."""
    container = steps.create(broken, "echo", "hello", ahead=False) if earlier else ""
    armed(broken, point)
    container = container or steps.create(broken, "echo", "hello", ahead=False)
    assert steps.attempt(broken, "POST", f"/containers/{container}/start") is None
    again(broken)
    assert steps.listed(broken, container) == "created"
    broken.api("POST", f"/containers/{container}/start").ok(204)
    assert steps.exit_code(broken, container) == 0
    assert steps.logs(broken, container).count(b"hello") == 1


@pytest.mark.parametrize("point", ["start.child", "start.network", "start.streams", "start.root", "start.limits", "start.run"])
def test_a_start_that_is_prepared_ahead_leaves_a_container_or_none(broken: Engine, point: str) -> None:
    armed(broken, point)
    made = steps.attempt(broken, "POST", "/containers/create", {"Image": "busybox", "Cmd": ["echo", "hello"]}, name="early")
    if made is not None and made.status == 201:
        assert steps.attempt(broken, "POST", "/containers/early/start") is None
    again(broken)
    found = [c for c in broken.api.get("/containers/json", all=True) if "/early" in c["Names"]]
    assert [c["State"] for c in found] in ([], ["created"]) and (found or made is None or made.status != 201)
    container = found[0]["Id"] if found else steps.create(broken, "echo", "hello", name="early")
    broken.api("POST", f"/containers/{container}/start").ok(204)
    assert steps.exit_code(broken, container) == 0
    assert steps.logs(broken, container).count(b"hello") == 1


def test_a_second_start_that_was_not_acknowledged_leaves_the_first_exit(broken: Engine) -> None:
    container = steps.start(broken, "sh", "-c", "exit 5")
    assert steps.exit_code(broken, container) == 5
    armed(broken, "start.run")
    assert steps.attempt(broken, "POST", f"/containers/{container}/start") is None
    again(broken)
    assert (steps.listed(broken, container), steps.state(broken, container)["ExitCode"]) == ("exited", 5)


def test_a_start_that_ran_but_was_not_recorded_is_found(broken: Engine) -> None:
    armed(broken, "start.record")
    container = steps.create(broken, *steps.SLEEP)
    assert steps.attempt(broken, "POST", f"/containers/{container}/start") is None
    again(broken)
    found = steps.state(broken, container)
    assert found["Running"] is True and steps.runs(found["Pid"])
    broken.api("POST", f"/containers/{container}/stop", t=0).ok(204)
    assert steps.state(broken, container)["ExitCode"] == 137


def test_a_start_that_ran_and_ended_before_the_next_daemon_is_found(broken: Engine) -> None:
    armed(broken, "start.record")
    container = steps.create(broken, "sh", "-c", "sleep 0.3; exit 9")
    assert steps.attempt(broken, "POST", f"/containers/{container}/start") is None
    steps.died(broken)
    eventually(lambda: not [p for p in broken.namespaces.processes() if broken._title(p) == "sh" and p != broken.pid and _asks(p)], says="it ends")
    again(broken)
    assert (steps.listed(broken, container), steps.exit_code(broken, container)) == ("exited", 9)


def _asks(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"exit 9" in file.read()
    except OSError:
        return False


@pytest.mark.parametrize("point", ["exit.record", "exit.acknowledge"])
@pytest.mark.parametrize("remove", [False, True])
def test_an_exit_is_never_lost(broken: Engine, point: str, remove: bool) -> None:
    armed(broken, point)
    container = steps.start(broken, "sh", "-c", "echo bye; exit 7", AutoRemove=remove)
    again(broken)
    if remove:
        eventually(lambda: not steps.listed(broken, container), says="--rm takes it")
    else:
        assert (steps.listed(broken, container), steps.exit_code(broken, container)) == ("exited", 7)
        assert steps.logs(broken, container).count(b"bye") == 1


@pytest.mark.parametrize("policy", ["no", "always"])
def test_a_stop_that_lost_its_daemon_has_stopped(broken: Engine, policy: str) -> None:
    armed(broken, "exit.record")
    container = steps.start(broken, "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done", RestartPolicy={"Name": policy}, Init=False)
    eventually(lambda: steps.runs(steps.state(broken, container)["Pid"]))
    assert steps.attempt(broken, "POST", f"/containers/{container}/stop", t=1) is None
    again(broken)
    found = steps.state(broken, container)
    if policy == "no":
        assert (found["Status"], found["Running"]) == ("exited", False) and found["ExitCode"] in (3, 137, 143)
    else:  # a daemon that comes up starts what has `always`, also what a user stopped
        eventually(lambda: steps.listed(broken, container) == "running", says="always")


@pytest.mark.parametrize("verb", ["stop", "kill"])
def test_what_a_user_stopped_stays_stopped_over_a_kill(broken: Engine, verb: str) -> None:
    armed(broken, "exit.record")
    container = steps.start(broken, *steps.SLEEP, RestartPolicy={"Name": "unless-stopped"})
    steps.attempt(broken, "POST", f"/containers/{container}/{verb}", **({"t": 0} if verb == "stop" else {}))
    again(broken)
    assert (steps.listed(broken, container), steps.exit_code(broken, container)) == ("exited", 137)


def test_a_removal_that_was_not_acknowledged_leaves_the_container(broken: Engine) -> None:
    armed(broken, "remove.row")
    container = steps.create(broken, "echo", "here")
    assert steps.attempt(broken, "DELETE", f"/containers/{container}") is None
    again(broken)
    assert steps.listed(broken, container) == "created"
    broken.api("POST", f"/containers/{container}/start").ok(204)
    assert steps.exit_code(broken, container) == 0


@pytest.mark.parametrize("point", ["remove.files", "remove.snapshot", "snapshots.remove"])
@pytest.mark.parametrize("running", [False, True])
def test_a_removal_that_was_written_is_finished_by_the_next_daemon(broken: Engine, point: str, running: bool) -> None:
    armed(broken, point)
    container = (steps.start if running else steps.create)(broken, *steps.SLEEP, name="going")
    steps.attempt(broken, "DELETE", f"/containers/{container}", force=True)
    log = again(broken)
    assert not steps.listed(broken, container)
    assert container[:12] in log, "no line for the repair"
    steps.create(broken, "true", name="going")


def test_a_rename_that_was_not_acknowledged_is_not_made(broken: Engine) -> None:
    armed(broken, "rename.record")
    container = steps.create(broken, "true", name="before")
    assert steps.attempt(broken, "POST", f"/containers/{container}/rename", name="after") is None
    again(broken)
    assert broken.api.get(f"/containers/{container}/json")["Name"] == "/before"
    broken.api("POST", f"/containers/{container}/rename", name="after").ok(204)
    steps.create(broken, "true", name="before")


@pytest.mark.parametrize("point", ["exec.child", "exec.run"])
def test_an_exec_that_lost_its_daemon_leaves_its_container_alone(broken: Engine, point: str) -> None:
    armed(broken, point)
    container = steps.start(broken, *steps.SLEEP)
    pid = steps.state(broken, container)["Pid"]
    made = broken.api("POST", f"/containers/{container}/exec", {"Cmd": ["sleep", "500"], "AttachStdout": True}).ok(201).json["Id"]
    assert steps.attempt(broken, "POST", f"/exec/{made}/start", {"Detach": True}) is None
    again(broken)
    assert (steps.state(broken, container)["Pid"], steps.state(broken, container)["Running"]) == (pid, True)
    broken.api("GET", f"/exec/{made}/json").refused(404, "No such exec instance")
    eventually(lambda: len(broken.api.get(f"/containers/{container}/top")["Processes"]) == 1, says="only the container's own process is left")


@pytest.mark.parametrize("point", ["networks.forward", "networks.bridge", "networks.rules", "store.commit", "store.committed"])
def test_a_daemon_that_dies_while_it_starts_is_followed_by_one_that_does_not(broken: Engine, point: str) -> None:
    container = steps.start(broken, *steps.SLEEP)
    pid = steps.state(broken, container)["Pid"]
    broken.stop()
    broken.start(wait=False, PIER_FAIL=f"{point}:kill")
    eventually(lambda: broken.namespaces.exit_code(broken.pid) is not None or broken.answers(), says="it dies or does not pass the point")
    if broken.namespaces.exit_code(broken.pid) is None:
        broken.kill("daemon")
    broken.start()
    assert (steps.state(broken, container)["Pid"], steps.state(broken, container)["Running"]) == (pid, True)
