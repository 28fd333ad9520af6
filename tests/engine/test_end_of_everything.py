"""What is left when everything ends: SIGQUIT (`make stop`) takes containers, helpers and daemon; SIGTERM the daemon alone."""

import signal
from pathlib import Path

from tests.harness.commands import eventually, run
from tests.harness.engine import HELPERS, Engine


def background(engine: Engine, *command: str) -> str:
    made: str = engine.api("POST", "/containers/create", {"Image": "busybox:latest", "Cmd": list(command), "StopTimeout": 1}).ok(201).json["Id"]
    engine.api("POST", f"/containers/{made}/start").ok(204)
    return made


def test_sigquit_leaves_no_process_and_no_cgroup(fresh_engine: Engine) -> None:
    background(fresh_engine, "sleep", "600")
    assert fresh_engine.stop(signal.SIGQUIT) == 0
    eventually(lambda: not fresh_engine.namespaces.processes(), says="everything ends")
    eventually(lambda: not fresh_engine.cgroups(), 5.0, "cgroups are removed")
    assert not fresh_engine.socket.exists()


def test_make_stop_says_whom_it_waits_for(fresh_engine: Engine, tmp_path: Path) -> None:
    container = background(fresh_engine, "sleep", "600")
    name = fresh_engine.api.get(f"/containers/{container}/json")["Name"][1:]
    here = {"PIER_EXEC_ROOT": str(fresh_engine.exec_root), "PIER_SOCKET": str(fresh_engine.socket), "PIER_REGISTRY_HOME": str(tmp_path)}
    done = run(["sh", str(Path(__file__).parents[2] / "scripts/stop")], {**fresh_engine.env, **here}).ok()
    first, *_, last = done.out.splitlines()
    assert first.startswith(f"make stop: stopping {name} (") and last == "make stop: stopped"
    eventually(lambda: not fresh_engine.namespaces.processes(), says="everything ends")
    fresh_engine.start()


def test_sigquit_ends_a_container_whose_start_is_under_way(fresh_engine: Engine, tmp_path: Path) -> None:
    body = {"Image": "busybox:latest", "Cmd": ["sleep", "600"], "StopTimeout": 1, "HostConfig": {"RestartPolicy": {"Name": "always"}}}
    made = fresh_engine.api("POST", "/containers/create", body).ok(201).json["Id"]
    fresh_engine.api("POST", f"/containers/{made}/start").ok(204)
    fresh_engine.stop(signal.SIGQUIT)
    trace = tmp_path / "trace"
    fresh_engine.start(PIER_FAIL="child.pivot:sleep=1", PIER_TRACE=str(trace))  # a second from here on its policy is starting it
    eventually(lambda: trace.exists() and "child.pivot" in trace.read_text(), says="the start is under way")
    assert fresh_engine.stop(signal.SIGQUIT) == 0
    eventually(lambda: not fresh_engine.namespaces.processes(), says="everything ends")
    eventually(lambda: not fresh_engine.cgroups(), 5.0, "cgroups are removed")


def test_sigquit_leaves_images_and_records(fresh_engine: Engine) -> None:
    container = background(fresh_engine, "sleep", "600")
    fresh_engine.stop(signal.SIGQUIT)
    fresh_engine.start()
    state = fresh_engine.api.get(f"/containers/{container}/json")["State"]
    assert (state["Running"], state["ExitCode"]) == (False, 137)
    fresh_engine.api("POST", f"/containers/{container}/start").ok(204)


def test_sigterm_leaves_containers_and_their_helpers(fresh_engine: Engine) -> None:
    container = background(fresh_engine, "sleep", "600")
    before = fresh_engine.api.get(f"/containers/{container}/json")["State"]
    keeper = fresh_engine.pid_of("keeper")
    assert fresh_engine.stop() == 0
    fresh_engine.start()
    after = fresh_engine.api.get(f"/containers/{container}/json")["State"]
    assert (after["Running"], after["Pid"], after["StartedAt"]) == (True, before["Pid"], before["StartedAt"])
    assert fresh_engine.pid_of("keeper") == keeper


def test_each_helper_is_started_again(fresh_engine: Engine) -> None:
    container = background(fresh_engine, "sleep", "600")
    for name in HELPERS[:3]:
        old = fresh_engine.kill(name)
        eventually(lambda name=name, old=old: [p for p in fresh_engine.pids_of(name) if p != old], says=f"another {name}")  # type: ignore[misc]
        eventually(lambda: fresh_engine.api("GET", "/_ping").status == 200)
    assert fresh_engine.api.get(f"/containers/{container}/json")["State"]["Running"] is True
    assert fresh_engine.pier("run", "--rm", "busybox", "echo", "again").ok().line == "again"


def test_a_helper_that_dies_while_the_daemon_greets_it(fresh_engine: Engine) -> None:
    for _ in range(4):
        keeper = fresh_engine.kill("keeper")
        eventually(lambda keeper=keeper: [p for p in fresh_engine.pids_of("keeper") if p != keeper], says="another keeper")  # type: ignore[misc]
        fresh_engine.kill("launcher")
        # who comes at once is told to try again
        eventually(lambda: fresh_engine.pier("run", "--rm", "busybox", "true").code == 0, says="a container runs")


def test_a_second_daemon_on_the_same_roots_is_refused(fresh_engine: Engine) -> None:
    from tests.harness.engine import program

    argv = [*program("pierd", "pier.daemon.main"), "--data-root", str(fresh_engine.data_root), "--exec-root", str(fresh_engine.exec_root), "-H",
            f"{fresh_engine.host}2", "--config-file", str(fresh_engine.config_file())]  # fmt: skip
    done = run(fresh_engine.namespaces.argv(*argv), fresh_engine.env, limit_s=20)
    assert done.code == 1 and str(fresh_engine.exec_root) in done.err, done
    assert fresh_engine.api("GET", "/_ping").status == 200
