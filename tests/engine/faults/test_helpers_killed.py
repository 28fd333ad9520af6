"""kill -9 of launcher, pump, worker and keeper, alone and together, while containers write, an exec runs and a client is attached."""

import socket
import time

import pytest

from tests.engine.faults import steps
from tests.harness.api import frames
from tests.harness.commands import eventually
from tests.harness.engine import Engine

COUNT = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done"


def numbers(engine: Engine, container: str) -> list[int]:
    """The numbers of the lines in the log."""
    text = b"".join(data for _, data in frames(steps.logs(engine, container))).decode()
    return [int(line.split()[1]) for line in text.splitlines() if line.startswith("line ")]


def replaced(engine: Engine, name: str, old: int) -> None:
    eventually(lambda: [pid for pid in engine.pids_of(name) if pid != old], says=f"another {name}")


@pytest.mark.parametrize("names", [("launcher",), ("pump",), ("launcher", "pump"), ("keeper",), ("keeper", "launcher", "pump")])
def test_containers_run_on_without_helpers(broken: Engine, names: tuple[str, ...]) -> None:
    container = steps.start(broken, "sh", "-c", COUNT)
    pid = steps.state(broken, container)["Pid"]
    attached, _ = broken.api.hijack(f"/containers/{container}/attach", stream=True, stdout=True)
    made = broken.api("POST", f"/containers/{container}/exec", {"Cmd": ["tail", "-f", "/dev/null"]}).ok(201).json["Id"]
    broken.api("POST", f"/exec/{made}/start", {"Detach": True}).ok()
    assert attached.recv(8)
    olds = {name: broken.pid_of(name) for name in names}
    for each in olds.values():
        steps.kill(each)
    for name, old in olds.items():
        replaced(broken, name, old)
    if "pump" in names:  # its clients hear of the end; they are not left waiting
        while attached.recv(65536):
            pass
    attached.close()
    assert (steps.state(broken, container)["Running"], steps.state(broken, container)["Pid"]) == (True, pid)
    last = max(numbers(broken, container) or [0])
    eventually(lambda: max(numbers(broken, container) or [0]) > last + 5, says="output goes on")
    seen = numbers(broken, container)
    assert seen == sorted(set(seen)), "a line twice"
    assert len(seen) == seen[-1], f"{seen[-1] - len(seen)} lines are lost"
    again = broken.api("POST", f"/containers/{container}/exec", {"Cmd": ["echo", "alive"], "AttachStdout": True}).ok(201).json["Id"]
    assert b"alive" in broken.api("POST", f"/exec/{again}/start", {"Detach": False}).ok().body
    broken.api("POST", f"/containers/{container}/kill").ok(204)
    assert steps.exit_code(broken, container) in ((137, 255) if "keeper" in names else (137,))
    found = steps.state(broken, container)
    assert found["ExitCode"] == 137 or "the exit code is lost" in found["Error"]


def test_a_container_of_an_earlier_daemon_survives_the_keeper_and_its_end_is_seen(broken: Engine) -> None:
    container = steps.start(broken, *steps.SLEEP)
    broken.restart()
    old = broken.kill("keeper")
    replaced(broken, "keeper", old)
    assert steps.listed(broken, container) == "running"
    eventually(lambda: broken.api("POST", f"/containers/{container}/kill").status == 204)
    assert steps.exit_code(broken, container) in (137, 255)
    assert steps.listed(broken, container) == "exited"


def test_all_of_pier_is_killed_and_the_containers_run_on(broken: Engine) -> None:
    container, ending = steps.start(broken, "sh", "-c", COUNT), steps.start(broken, "sh", "-c", "sleep 1; exit 3")
    pid = steps.state(broken, container)["Pid"]
    for name in ("keeper", "daemon", "launcher", "pump"):
        for each in broken.pids_of(name) if name != "daemon" else [broken.pid]:
            steps.kill(each)
    eventually(lambda: not broken.pids_of("launcher") and not broken.pids_of("pump"), says="they die")
    steps.died(broken)
    assert steps.runs(pid)
    broken.start()
    assert (steps.state(broken, container)["Running"], steps.state(broken, container)["Pid"]) == (True, pid)
    assert container[:12] in broken.log_text(), "no line for the repair"
    last = max(numbers(broken, container) or [0])
    eventually(lambda: max(numbers(broken, container) or [0]) > last + 5, says="output goes on")
    eventually(lambda: steps.listed(broken, ending) == "exited", says="the end is seen")
    found = steps.state(broken, ending)
    assert found["ExitCode"] == 3 or (found["ExitCode"] == 255 and "the exit code is lost" in found["Error"])
    broken.api("POST", f"/containers/{container}/stop", t=0).ok(204)
    assert steps.listed(broken, container) == "exited"


def test_a_killed_worker_is_an_error_that_names_it_and_the_next_load_works(broken: Engine) -> None:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(broken.socket))
    client.sendall(b"POST /v1.51/images/load HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n200\r\n")
    eventually(lambda: broken.pids_of("worker"), says="a worker")
    for pid in broken.pids_of("worker"):
        steps.kill(pid)
    client.sendall(b"\0" * 0x200 + b"\r\n")
    client.settimeout(20)
    seen = b""
    while b"error" not in seen and b"message" not in seen:
        part = client.recv(65536)
        assert part, seen
        seen += part
    client.close()
    assert b"worker" in seen, seen
    assert broken.load_busybox("busybox:latest")


def test_exits_while_the_daemon_is_down_are_not_lost(broken: Engine) -> None:
    waits = "while [ ! -e /go ]; do sleep 0.02; done; "
    codes = {steps.start(broken, "sh", "-c", f"{waits}exit {code}"): code for code in (0, 3, 250)}
    removed = steps.start(broken, "sh", "-c", f"{waits}exit 1", AutoRemove=True)
    always = steps.start(broken, "sh", "-c", f"{waits}rm /go; exit 1", RestartPolicy={"Name": "always"})
    stays = steps.start(broken, *steps.SLEEP)
    pids = {each: steps.state(broken, each)["Pid"] for each in (*codes, removed, always)}
    broken.kill("daemon")
    for pid in pids.values():
        with open(f"/proc/{pid}/root/go", "w"):
            pass
    eventually(lambda: not any(steps.runs(pid) for pid in pids.values()), says="they end")
    broken.start()
    for each, code in codes.items():
        assert (steps.listed(broken, each), steps.exit_code(broken, each)) == ("exited", code)
    assert steps.listed(broken, stays) == "running"
    eventually(lambda: not steps.listed(broken, removed), says="--rm")
    eventually(lambda: steps.listed(broken, always) == "running", says="always")
    assert steps.state(broken, always)["Pid"] != pids[always]
    assert broken.api.get(f"/containers/{always}/json")["RestartCount"] == 1


def test_restart_policies_go_on_over_restarts_of_the_daemon(broken: Engine) -> None:
    fails = steps.start(broken, "sh", "-c", "exit 1", RestartPolicy={"Name": "on-failure", "MaximumRetryCount": 5})
    stopped = steps.start(broken, *steps.SLEEP, RestartPolicy={"Name": "unless-stopped"})
    broken.api("POST", f"/containers/{stopped}/stop", t=0).ok(204)
    always = steps.start(broken, *steps.SLEEP, RestartPolicy={"Name": "always"})
    broken.api("POST", f"/containers/{always}/stop", t=0).ok(204)
    eventually(lambda: broken.api.get(f"/containers/{fails}/json")["RestartCount"] >= 2, says="two tries")
    broken.kill("daemon")
    broken.start()
    eventually(lambda: steps.listed(broken, fails) == "exited", says="its tries are used up")
    assert (broken.api.get(f"/containers/{fails}/json")["RestartCount"], steps.state(broken, fails)["ExitCode"]) == (5, 1)
    assert steps.listed(broken, stopped) == "exited"
    eventually(lambda: steps.listed(broken, always) == "running", says="always")
    broken.restart()
    assert steps.listed(broken, fails) == "exited"


def test_a_stop_between_two_runs_of_a_policy_holds_over_a_kill(broken: Engine) -> None:
    container = steps.start(broken, "sh", "-c", "exit 1", RestartPolicy={"Name": "unless-stopped"})
    eventually(lambda: broken.api.get(f"/containers/{container}/json")["RestartCount"] >= 3, says="the pause is long enough")
    broken.api("POST", f"/containers/{container}/stop", t=0).ok(204)
    assert steps.listed(broken, container) == "exited"
    broken.kill("daemon")
    broken.start()
    time.sleep(0.3)
    assert steps.listed(broken, container) == "exited"


def test_an_exec_whose_pump_dies_when_it_gets_its_streams_is_told_so() -> None:
    with Engine(env={"PIER_FAIL": "pump.open:kill@2"}) as own:  # the first is the container's
        own.load_busybox()
        container = steps.start(own, *steps.SLEEP)
        made = own.api("POST", f"/containers/{container}/exec", {"Cmd": ["echo", "said"], "AttachStdout": True}).ok(201).json["Id"]
        sock, said = own.api.hijack(f"/exec/{made}/start", {})
        with sock:
            while more := sock.recv(4096):
                said += more
        assert b"the pump died when it was given the streams" in said
        found = own.api.get(f"/exec/{made}/json")
        assert (found["Running"], found["ExitCode"]) == (False, 126)
        own.api("DELETE", f"/containers/{container}", force=True).ok(204)
