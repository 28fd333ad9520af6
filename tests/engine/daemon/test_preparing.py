"""A start that is prepared while its client is on its way: nobody sees it before, nothing of it stays, and it is never out of date."""

import os
import signal
import subprocess
from typing import Any

import pytest

from tests.engine.faults import steps
from tests.harness.commands import eventually
from tests.harness.engine import Engine, program


def prepared(engine: Engine, container: str) -> list[int]:
    """The processes that wait in a container for the word to go."""
    found = []
    for pid in engine.namespaces.processes():
        try:
            with open(f"/proc/{pid}/comm") as name, open(f"/proc/{pid}/cgroup") as groups:
                if name.read() == "pier-blank\n" and container in groups.read():
                    found.append(pid)
        except OSError:
            continue
    return found


def made_ready(engine: Engine, container: str) -> int:
    """Wait until the child has left the host's mounts behind: it waits for its program then."""
    (pid,) = eventually(lambda: prepared(engine, container), says="a child has the container's plan")
    eventually(lambda: not os.path.exists(f"/proc/{pid}/root{engine.exec_root}"), says="the child is in its root")
    return pid


def test_what_is_only_created_shows_nothing_of_it(engine: Engine) -> None:
    container = steps.create(engine, *steps.SLEEP)
    made_ready(engine, container)
    found = engine.api.get(f"/containers/{container}/json")
    assert (found["State"]["Status"], found["State"]["Pid"], found["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]) == ("created", 0, "")
    assert container not in engine.api.get("/networks/bridge")["Containers"]
    assert steps.logs(engine, container) == b""
    engine.api("POST", f"/containers/{container}/start").ok(204)
    found = engine.api.get(f"/containers/{container}/json")
    address = found["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert engine.api.get("/networks/bridge")["Containers"][container]["IPv4Address"].startswith(address)
    assert steps.runs(found["State"]["Pid"])


def test_the_network_tells_of_it_at_the_start(engine: Engine) -> None:
    with Events(engine) as told:
        container = steps.create(engine, "true")
        made_ready(engine, container)
        engine.api("POST", f"/containers/{container}/start").ok(204)
        assert steps.exit_code(engine, container) == 0
        lines = [told.readline().strip() for _ in range(5)]
    assert lines == ["container create", "network connect", "container start", "container die", "network disconnect"]


class Events:
    """`pier events` as a file of its lines."""

    def __init__(self, engine: Engine) -> None:
        argv = [*program("pier", "pier.cli.main"), "events", "--format", "{{.Type}} {{.Action}}"]
        self.process = subprocess.Popen(argv, env=engine.client_env, stdout=subprocess.PIPE, text=True)
        before = engine.api.get("/info")["NEventsListener"]
        eventually(lambda: engine.api.get("/info")["NEventsListener"] >= max(before, 1), says="the listener is there")

    def __enter__(self) -> Any:
        return self.process.stdout

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def test_one_that_is_removed_leaves_nothing(engine: Engine) -> None:
    for _ in range(3):
        container = steps.create(engine, *steps.SLEEP)
        engine.api("DELETE", f"/containers/{container}").ok(204)
        eventually(lambda container=container: not prepared(engine, container), says="its child ends")  # type: ignore[misc]
    container = steps.create(engine, *steps.SLEEP)
    made_ready(engine, container)
    engine.api("DELETE", f"/containers/{container}").ok(204)
    eventually(lambda: not prepared(engine, container), says="its child ends")


@pytest.mark.parametrize("heard", [False, True])
def test_a_child_that_was_killed_meanwhile_is_replaced(engine: Engine, heard: bool) -> None:
    """heard: the daemon knows of its end before the start."""
    container = steps.create(engine, "echo", "here")
    pid = made_ready(engine, container)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not steps.runs(pid))
    if heard:
        eventually(lambda: not os.path.exists(f"/proc/{pid}"), says="the keeper has reaped it")
        engine.api.get(f"/containers/{container}/json")
    engine.api("POST", f"/containers/{container}/start").ok(204)
    assert (steps.exit_code(engine, container), b"here" in steps.logs(engine, container)) == (0, True)


def test_one_whose_keeper_was_killed_is_made_anew_and_its_output_is_heard(fresh_engine: Engine) -> None:
    fresh_engine.load_busybox()
    container = steps.create(fresh_engine, "echo", "here")
    made_ready(fresh_engine, container)
    fresh_engine.kill("keeper")
    fresh_engine.api("POST", f"/containers/{container}/start").ok(204)
    assert (steps.exit_code(fresh_engine, container), b"here" in steps.logs(fresh_engine, container)) == (0, True)


def test_name_servers_that_changed_meanwhile_are_the_new_ones(fresh_engine: Engine, tmp_path: Any) -> None:
    engine = fresh_engine
    host = tmp_path / "resolv.conf"
    host.write_text("nameserver 192.0.2.1\n")
    subprocess.run(engine.namespaces.argv("mount", "--bind", str(host), "/etc/resolv.conf"), check=True)
    try:
        container = steps.create(engine, "cat", "/etc/resolv.conf")
        made_ready(engine, container)
        host.write_text("nameserver 192.0.2.2\n")
        engine.api("POST", f"/containers/{container}/start").ok(204)
        assert steps.exit_code(engine, container) == 0
        assert b"192.0.2.2" in steps.logs(engine, container) and b"192.0.2.1" not in steps.logs(engine, container)
    finally:
        subprocess.run(engine.namespaces.argv("umount", "/etc/resolv.conf"), check=True)


@pytest.mark.parametrize(("command", "code", "text"), [("nope", 127, "executable file not found"), ("/etc", 126, "is a directory")])
def test_what_cannot_run_is_refused_by_the_start_in_the_same_words(engine: Engine, command: str, code: int, text: str) -> None:
    for ahead in (True, False):
        container = steps.create(engine, command, ahead=ahead)
        if ahead:
            eventually(lambda container=container: not prepared(engine, container), says="its child has failed")  # type: ignore[misc]
        answer = engine.api("POST", f"/containers/{container}/start")
        assert (answer.status, text in steps.error_of(answer)) == (400, True), answer
        assert steps.state(engine, container)["ExitCode"] == code


def test_a_child_that_fails_before_its_container_is_on_the_disk_stands_in_nobodys_way(fresh_engine: Engine) -> None:
    fresh_engine.stop()
    fresh_engine.start(PIER_FAIL="store.commit:sleep=0.3")
    container = steps.create(fresh_engine, "nope", ahead=True)
    answer = fresh_engine.api("POST", f"/containers/{container}/start")
    assert (answer.status, "executable file not found" in steps.error_of(answer)) == (400, True), answer


def test_a_refused_create_makes_no_folder_of_the_host(engine: Engine, tmp_path: Any) -> None:
    kept = steps.create(engine, "true", name="taken", ahead=False, Binds=[f"{tmp_path}/made/here:/x"])
    assert (tmp_path / "made/here").is_dir()
    wanted = {"Image": "busybox", "HostConfig": {"Binds": [f"{tmp_path}/new/a:/x", "/proc/nowhere/b:/y"]}}
    assert engine.api("POST", "/containers/create", wanted, name="taken").status == 409
    refused = steps.error_of(engine.api("POST", "/containers/create", wanted))
    assert refused == "error while creating mount source path '/proc/nowhere/b': mkdir /proc/nowhere: no such file or directory"
    assert not (tmp_path / "new").exists()
    engine.api("DELETE", f"/containers/{kept}").ok(204)


def test_more_than_are_prepared_start_as_well(engine: Engine) -> None:
    made = [steps.create(engine, "true") for _ in range(20)]
    for container in made:
        engine.api("POST", f"/containers/{container}/start").ok(204)
    assert {steps.exit_code(engine, container) for container in made} == {0}


def test_a_rename_in_between_changes_nothing_else(engine: Engine) -> None:
    container = steps.create(engine, "hostname", name="before")
    made_ready(engine, container)
    engine.api("POST", f"/containers/{container}/rename", name="after").ok(204)
    engine.api("POST", "/containers/after/start").ok(204)
    assert steps.exit_code(engine, container) == 0
    assert container[:12].encode() in steps.logs(engine, container)


def waiting_execs(engine: Engine, container: str) -> list[int]:
    """The processes of execs that wait in a running container."""
    first = steps.state(engine, container)["Pid"]
    return [pid for pid in prepared(engine, container) if pid != first]


def exec_of(engine: Engine, container: str, *command: str) -> str:
    body = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True}
    return str(engine.api("POST", f"/containers/{container}/exec", body).ok(201).json["Id"])


def started(engine: Engine, made: str) -> tuple[bytes, int]:
    """What an exec says, and its exit code."""
    said = engine.api("POST", f"/exec/{made}/start", {"Detach": False, "Tty": False}).body
    eventually(lambda: engine.api.get(f"/exec/{made}/json")["Running"] is False, says="the exec ends")
    return said, engine.api.get(f"/exec/{made}/json")["ExitCode"]


def test_an_exec_that_nobody_starts_leaves_nothing_and_can_be_started_later(engine: Engine) -> None:
    container = steps.start(engine, *steps.SLEEP)
    made = exec_of(engine, container, "echo", "late")
    eventually(lambda: len(waiting_execs(engine, container)) == 1, says="it is made ahead")
    assert engine.api.get(f"/exec/{made}/json")["Running"] is False
    eventually(lambda: not waiting_execs(engine, container), says="it is let go")
    said, code = started(engine, made)
    assert (b"late" in said, code) == (True, 0)


def test_an_exec_whose_process_was_killed_before_its_start_gets_another(engine: Engine) -> None:
    container = steps.start(engine, *steps.SLEEP)
    made = exec_of(engine, container, "echo", "another")
    eventually(lambda: len(waiting_execs(engine, container)) == 1, says="it is made ahead")
    (pid,) = waiting_execs(engine, container)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not steps.runs(pid))
    said, code = started(engine, made)
    assert (b"another" in said, code) == (True, 0)


def test_execs_whose_container_ends_between_create_and_start(engine: Engine) -> None:
    container = steps.start(engine, *steps.SLEEP)
    made = [exec_of(engine, container, "true") for _ in range(3)]
    engine.api("POST", f"/containers/{container}/kill").ok(204)
    steps.exit_code(engine, container)
    for each in made:
        answer = engine.api("POST", f"/exec/{each}/start", {"Detach": True, "Tty": False})
        assert (answer.status, "is not running" in steps.error_of(answer)) == (409, True)


def test_many_execs_at_once(engine: Engine) -> None:
    container = steps.start(engine, *steps.SLEEP)
    made = [exec_of(engine, container, "sh", "-c", f"echo {number}; exit {number}") for number in range(24)]
    found = [started(engine, each) for each in made]
    assert [code for _, code in found] == list(range(24))
    assert all(str(number).encode() in said for number, (said, _) in enumerate(found))


@pytest.mark.parametrize(("command", "code"), [("nope", 127), ("/etc", 126)])
def test_an_exec_that_cannot_run_says_so_as_before(engine: Engine, command: str, code: int) -> None:
    container = steps.start(engine, *steps.SLEEP)
    made = exec_of(engine, container, command)
    eventually(lambda: not waiting_execs(engine, container), says="its child has failed")
    said, found = started(engine, made)
    assert (found, b"OCI runtime exec failed" in said) == (code, True), said
