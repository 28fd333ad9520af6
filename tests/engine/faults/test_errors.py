"""An error at every point: the client hears its name, nothing is left, and the next try gets further."""

import pytest

from tests.engine.faults import steps
from tests.harness.commands import eventually
from tests.harness.engine import Engine

CREATE = ("create.snapshot", "snapshots.create", "snapshots.created", "create.folder", "create.record")
START = ("start.child", "start.network", "start.streams", "start.root", "start.limits", "start.run", "start.record")


def armed(engine: Engine, *points: str) -> None:
    """Another daemon, in which each of these points fails the first time."""
    engine.stop()
    engine.start(PIER_FAIL=",".join(f"{point}:error@1" for point in points))


@pytest.mark.parametrize("explicit", [False, True])
def test_create_start_rename_and_remove_fail_at_each_point_and_then_work(broken: Engine, explicit: bool) -> None:
    """explicit: a shape that the pool does not have."""
    host = {"IpcMode": "private", "CgroupnsMode": "private"} if explicit else {}
    kept = set(broken.containers())
    armed(broken, *CREATE, *START, "rename.record", "remove.row", "remove.files", "remove.snapshot", "snapshots.remove")
    for point in CREATE:
        answer = broken.api("POST", "/containers/create", {"Image": "busybox", "Cmd": ["tail", "-f", "/dev/null"], "HostConfig": host}, name="tried")
        assert answer.status == 500, (point, answer)
        assert point in steps.error_of(answer) or point == "snapshots.create", answer
        assert set(broken.containers()) == kept
    container = steps.create(broken, *steps.SLEEP, name="tried", ahead=False, **host)
    for point in START:
        text = steps.error_of(broken.api("POST", f"/containers/{container}/start"))
        assert point in text, text
        assert steps.listed(broken, container) == "created"
    broken.api("POST", f"/containers/{container}/start").ok(204)
    assert steps.runs(steps.state(broken, container)["Pid"])
    assert "rename.record" in steps.error_of(broken.api("POST", f"/containers/{container}/rename", name="other"))
    assert broken.api.get(f"/containers/{container}/json")["Name"] == "/tried"
    broken.api("POST", f"/containers/{container}/rename", name="other").ok(204)
    assert "remove.row" in steps.error_of(broken.api("DELETE", f"/containers/{container}", force=True))
    assert steps.listed(broken, container) == "exited"
    broken.api("DELETE", f"/containers/{container}").ok(204)
    steps.create(broken, "true", name="other")


@pytest.mark.parametrize("point", START[:5])
def test_what_fails_while_it_is_prepared_ahead_is_tried_again_by_the_start(broken: Engine, point: str) -> None:
    armed(broken, point)
    container = steps.start(broken, "echo", "hello")
    assert steps.exit_code(broken, container) == 0
    assert steps.logs(broken, container).count(b"hello") == 1


def test_an_exit_that_cannot_be_written_at_once_is_written(broken: Engine) -> None:
    armed(broken, "exit.record", "exit.acknowledge")
    container = steps.start(broken, "sh", "-c", "exit 4")
    assert steps.exit_code(broken, container) == 4
    broken.kill("daemon")
    broken.start()
    assert (steps.listed(broken, container), steps.exit_code(broken, container)) == ("exited", 4)


def test_an_exit_that_cannot_be_written_for_long_is_with_the_keeper(broken: Engine) -> None:
    broken.stop()
    broken.start(PIER_FAIL="exit.record:error")
    container = steps.start(broken, "sh", "-c", "exit 6")
    assert steps.exit_code(broken, container) == 6
    eventually(lambda: "its exit cannot be recorded yet: [Errno 5] failpoint exit.record" in broken.log_text())
    broken.kill("daemon")
    broken.start()
    assert (steps.listed(broken, container), steps.exit_code(broken, container)) == ("exited", 6)


def test_an_exec_fails_at_each_point_and_then_works(broken: Engine) -> None:
    armed(broken, "exec.child", "exec.run")
    container = steps.start(broken, *steps.SLEEP)
    for point in ("exec.child", "exec.run", ""):  # with a terminal nothing is made ahead
        made = broken.api("POST", f"/containers/{container}/exec", {"Cmd": ["echo", "done"], "AttachStdout": True, "Tty": True}).ok(201).json["Id"]
        answer = broken.api("POST", f"/exec/{made}/start", {"Detach": False, "Tty": True})
        assert (point or "done").encode() in answer.body
        eventually(lambda made=made: broken.api.get(f"/exec/{made}/json")["Running"] is False)  # type: ignore[misc]
        assert broken.api.get(f"/exec/{made}/json")["ExitCode"] == (126 if point else 0)


def test_an_exec_that_cannot_be_made_ahead_is_made_by_its_start(broken: Engine) -> None:
    container = steps.start(broken, *steps.SLEEP)
    armed(broken, "exec.child")
    made = broken.api("POST", f"/containers/{container}/exec", {"Cmd": ["echo", "done"], "AttachStdout": True}).ok(201).json["Id"]
    assert b"done" in broken.api("POST", f"/exec/{made}/start", {"Detach": False, "Tty": False}).body
    eventually(lambda: broken.api.get(f"/exec/{made}/json")["Running"] is False)
    assert broken.api.get(f"/exec/{made}/json")["ExitCode"] == 0


@pytest.mark.parametrize("action", ["error", "kill"])
def test_a_child_that_fails_or_dies_in_the_middle_of_its_plan(broken: Engine, action: str) -> None:
    """The keeper's environment is what children have: it is started anew with the point armed, and without it in the end."""
    broken.stop()
    old = broken.kill("keeper")
    broken.start(PIER_FAIL=f"child.pivot:{action}")
    assert broken.pid_of("keeper") != old
    container = steps.create(broken, "echo", "hello")
    answer = broken.api("POST", f"/containers/{container}/start")
    if action == "error":
        assert "failpoint child.pivot" in steps.error_of(answer)
    else:
        assert answer.status in (204, 400, 500)
    eventually(lambda: steps.listed(broken, container) in ("created", "exited"), says="it does not run")
    broken.stop()
    broken.kill("keeper")
    broken.start()
    broken.api("POST", f"/containers/{container}/start").ok(204)
    assert steps.exit_code(broken, container) == 0
