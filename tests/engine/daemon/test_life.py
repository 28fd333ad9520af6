"""The life of a daemon: start, refusals to start, signals, what is left for the next one."""

import json
import os
import signal
import stat
import subprocess
import sys

import pytest

from tests.harness.commands import eventually
from tests.harness.engine import Engine, program


def pierd(*options: str) -> "subprocess.CompletedProcess[str]":
    """Run pierd to its end with options that make it end at once."""
    return subprocess.run([*program("pierd", "pier.daemon.main"), *options], capture_output=True, text=True, timeout=60, check=False)


def start(engine: Engine, *command: str, **host: object) -> str:
    made = engine.api("POST", "/containers/create", {"Image": "busybox:latest", "Cmd": list(command), "HostConfig": host}).ok(201).json["Id"]
    engine.api("POST", f"/containers/{made}/start").ok(204)
    return str(made)


def state(engine: Engine, container: str) -> dict[str, object]:
    return dict(engine.api.get(f"/containers/{container}/json")["State"])


def test_options_that_end_at_once(tmp_path: object) -> None:
    assert pierd("--version").stdout.startswith("Pier version ")
    assert "--data-root" in pierd("--help").stdout
    good = pierd("--validate", "--config-file", "/dev/null")
    assert (good.returncode, good.stderr) == (0, "configuration OK\n")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--nope"], "pierd: unknown flag: --nope"),
        (["--validate", "--bip", "x"], "pierd: --bip x:"),
        (["-H", "tcp://127.0.0.1:1"], "pierd: --host tcp://127.0.0.1:1: tcp:// is not supported by Pier yet: use unix://PATH"),
        (["--config-file", "/no/such"], "pierd: unable to configure the Pier daemon with file /no/such: it does not exist"),
    ],
)
def test_what_is_refused_at_the_command_line(options: list[str], text: str) -> None:
    done = pierd(*options)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(text)


def test_modes_of_what_a_daemon_makes(fresh_engine: Engine) -> None:
    engine = fresh_engine

    def mode(path: object) -> int:
        return stat.S_IMODE(os.stat(str(path)).st_mode)

    assert mode(engine.data_root) == 0o710
    assert mode(engine.exec_root) == 0o711
    assert (mode(engine.socket), os.stat(engine.socket).st_uid) == (0o660, 0)
    assert (engine.exec_root / "pierd.pid").read_text() == f"{engine.pid}\n"
    for private in ("state.db", "content", "layers", "snapshots"):
        assert mode(engine.data_root / private) & 0o007 == 0, private
    info = engine.api.get("/info")
    assert (info["Containers"], info["Images"], info["DockerRootDir"], info["LoggingDriver"]) == (0, 1, str(engine.data_root), "local")
    assert info["Driver"] in ("erofs", "unpacked")
    fresh_engine.load_busybox()
    container = fresh_engine.pier("create", "-e", "SECRET=x", "busybox").ok().line
    assert mode(fresh_engine.data_root / "containers" / container / "config.json") == 0o600


def test_a_second_daemon_on_the_same_roots_or_socket_is_refused(fresh_engine: Engine) -> None:
    engine = fresh_engine
    first = engine.pid
    other = engine.roots / "other"
    same_exec = pierd("--data-root", str(other), "--exec-root", str(engine.exec_root), "-H", f"unix://{other}.s", "--config-file", "/dev/null")
    assert same_exec.returncode == 1
    assert f"pierd runs already (pid {first})" in same_exec.stderr
    same_data = pierd("--data-root", str(engine.data_root), "--exec-root", str(other), "-H", f"unix://{other}.s", "--config-file", "/dev/null")
    assert same_data.returncode == 1
    assert f"is in use by another pierd (pid {first}" in same_data.stderr
    assert engine.answers()


def test_two_daemons_live_side_by_side(fresh_engine: Engine) -> None:
    with Engine() as other:
        other.load_busybox()
        ids = [start(engine, "sleep", "60") for engine in (fresh_engine, other)]
        for engine, mine in zip((fresh_engine, other), ids, strict=True):
            assert [c["Id"] for c in engine.api.get("/containers/json")] == [mine]
        assert fresh_engine.api.get("/info")["ID"] != other.api.get("/info")["ID"]


def test_containers_outlive_the_daemon_and_their_ends_are_not_lost(fresh_engine: Engine) -> None:
    engine = fresh_engine
    stays, ends = start(engine, "sleep", "60"), start(engine, "sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done")
    eventually(lambda: b"ready" in engine.api("GET", f"/containers/{ends}/logs", stdout=True).body, says="the trap is set")
    before, ending = state(engine, stays)["Pid"], int(str(state(engine, ends)["Pid"]))
    assert engine.stop(signal.SIGTERM) == 0
    assert not engine.socket.exists()
    assert not (engine.exec_root / "pierd.pid").exists()
    os.kill(ending, signal.SIGTERM)
    eventually(lambda: not os.path.exists(f"/proc/{ending}"), says="the container ends")
    engine.start()
    assert state(engine, stays)["Pid"] == before
    assert (state(engine, ends)["Status"], state(engine, ends)["ExitCode"]) == ("exited", 7)


def test_a_killed_daemon_leaves_a_socket_that_the_next_one_takes(fresh_engine: Engine) -> None:
    engine = fresh_engine
    stays = start(engine, "sleep", "60")
    before = state(engine, stays)["Pid"]
    identity = engine.api.get("/info")["ID"]
    engine.kill("daemon")
    assert engine.socket.exists()
    engine.start()
    assert state(engine, stays)["Pid"] == before
    assert engine.api.get("/info")["ID"] == identity


def test_sigquit_ends_containers_and_helpers(fresh_engine: Engine) -> None:
    engine = fresh_engine
    start(engine, "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done", RestartPolicy={"Name": "unless-stopped"})
    assert engine.stop(signal.SIGQUIT) == 0
    helpers = ("keeper", "launcher", "netd", "pump", "worker")
    eventually(lambda: not [p for name in helpers for p in engine.pids_of(name)], says="the helpers are gone")
    assert not engine.cgroups() or all(not (path / "cgroup.procs").read_text() for path in engine.cgroups())
    engine.start()
    eventually(lambda: len(engine.api.get("/containers/json")) == 1, says="unless-stopped starts again")


def test_without_live_restore_sigterm_stops_containers(fresh_engine: Engine) -> None:
    engine = fresh_engine
    engine.stop()
    engine.config_file().write_text(json.dumps({"live-restore": False, "shutdown-timeout": 1}))
    engine.start()
    assert engine.api.get("/info")["LiveRestoreEnabled"] is False
    stubborn = start(engine, "sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
    pid = int(str(state(engine, stubborn)["Pid"]))
    assert engine.stop(signal.SIGTERM) == 0
    assert not os.path.exists(f"/proc/{pid}")
    engine.start()
    assert (state(engine, stubborn)["Status"], state(engine, stubborn)["ExitCode"]) == ("exited", 137)


def test_a_reload_changes_labels_and_names_what_it_cannot(fresh_engine: Engine) -> None:
    engine = fresh_engine
    engine.config_file().write_text(json.dumps({"labels": ["a=b"], "debug": True, "mtu": 1400}))
    os.kill(engine.pid, signal.SIGHUP)
    eventually(lambda: engine.api.get("/info")["Labels"] == ["a=b"], says="the labels change")
    assert engine.api.get("/info")["Debug"] is True
    assert "mtu changed, too: that needs a new start" in engine.log_text()
    engine.config_file().write_text('{"nope": 1}')
    os.kill(engine.pid, signal.SIGHUP)
    eventually(lambda: "configuration not reloaded" in engine.log_text(), says="a broken file is refused")
    assert engine.api.get("/info")["Labels"] == ["a=b"]


def test_sigusr1_writes_the_tasks(fresh_engine: Engine) -> None:
    os.kill(fresh_engine.pid, signal.SIGUSR1)
    eventually(lambda: "task Task-" in fresh_engine.log_text(), says="the tasks are in the log")
    assert fresh_engine.answers()


def test_a_daemon_that_cannot_start_leaves_nothing(fresh_engine: Engine) -> None:
    """The last step fails: sockets, database and pid file of the attempt are given back."""
    engine = fresh_engine
    engine.stop()
    engine.socket.write_text("not a socket")
    engine.start(wait=False)
    eventually(lambda: engine.namespaces.exit_code(engine.pid) == 1, says="the daemon ends")
    assert "is there and is no socket" in engine.log_text()
    engine.socket.unlink()
    engine.start()
    assert engine.answers()


def test_the_version_names_the_interpreter(fresh_engine: Engine) -> None:
    """The version that the daemon tells is that of its interpreter."""
    version = fresh_engine.api.get("/version")
    assert version["GoVersion"] == f"python{sys.version.split()[0]}"


def test_a_wrong_wish_is_named(fresh_engine: Engine) -> None:
    engine = fresh_engine
    engine.stop()
    engine.start(wait=False, PIER_FEATURES="erofs")
    eventually(lambda: engine.namespaces.exit_code(engine.pid) == 1, says="the daemon ends")
    assert "pierd: cannot start: PIER_FEATURES: 'erofs' is not -feature" in engine.log_text()
    assert "Traceback" not in engine.log_text()


def test_a_forced_fallback_is_shown(fresh_engine: Engine) -> None:
    engine = fresh_engine
    engine.stop()
    engine.data_root = engine.roots / "data2"
    engine.start(PIER_FEATURES="-erofs")
    assert engine.api.get("/info")["Driver"] == "unpacked"
