"""Health checks: seen from outside, when they fail in every way, and over the end of the daemon."""

import signal
import time
from itertools import pairwise
from typing import Any

from tests.harness.commands import eventually
from tests.harness.engine import Engine

MS = 10**6
NOTHING = "<no value>"
LIVES = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"]


def run(engine: Engine, *test: str, interval_ms: int = 50, command: list[str] | None = None, **check: int) -> str:
    health = {"Test": list(test), "Interval": interval_ms * MS, **check}
    body = {"Image": "busybox:latest", "Cmd": command or LIVES, "Healthcheck": health}
    made = str(engine.api("POST", "/containers/create", body).ok(201).json["Id"])
    engine.api("POST", f"/containers/{made}/start").ok(204)
    return made


def health(engine: Engine, container: str) -> dict[str, Any]:
    return dict(engine.api.get(f"/containers/{container}/json")["State"]["Health"])


def answers(engine: Engine, container: str, count: int = 1) -> list[dict[str, Any]]:
    """The log once it has so many entries."""
    return eventually(lambda: log if len(log := health(engine, container)["Log"]) >= count else None, says="the health checks answer") or []


def becomes(engine: Engine, container: str, status: str) -> dict[str, Any]:
    eventually(lambda: health(engine, container)["Status"] == status, says=f"the container is {status}")
    return health(engine, container)


def processes(engine: Engine, container: str) -> list[str]:
    """The commands in a container."""
    return [row[-1] for row in engine.api.get(f"/containers/{container}/top")["Processes"]]


def events(engine: Engine, container: str, since: float) -> list[tuple[str, str]]:
    lines = engine.pier("events", "--since", str(since), "--until", str(time.time()), "--filter", f"container={container}", "--format",
                        "{{.Action}}|{{.Actor.Attributes.exitCode}}").ok().out.splitlines()  # fmt: skip
    return [(action, code) for action, _, code in (line.rpartition("|") for line in lines)]


def test_a_container_is_checked_from_its_start_to_its_end(engine: Engine) -> None:
    begun = time.time()
    name = run(engine, "CMD-SHELL", "echo seen; test -e /ok", Retries=2, interval_ms=100)
    now = becomes(engine, name, "unhealthy")
    assert now["FailingStreak"] >= 2 and {(one["ExitCode"], one["Output"]) for one in now["Log"]} == {(1, "seen\n")}
    assert "(unhealthy)" in engine.pier("ps", "--filter", "health=unhealthy").ok().out
    engine.pier("exec", name, "touch", "/ok").ok()
    assert becomes(engine, name, "healthy")["FailingStreak"] == 0
    assert "(healthy)" in engine.pier("ps", "--filter", f"id={name}", "--filter", "health=healthy").ok().out
    engine.pier("stop", name).ok()
    told = [action for action in events(engine, name, begun) if action[0] != "exec_create: touch /ok"]
    check = [(f"exec_{verb}: /bin/sh -c echo seen; test -e /ok", NOTHING) for verb in ("create", "start")] + [("exec_die", "1")]
    assert told[2 : 2 + 7] == [*check, *check, ("health_status: unhealthy", NOTHING)]
    assert [action for action, _ in told if action.startswith("health")] == ["health_status: unhealthy", "health_status: healthy"]
    state = engine.api.get(f"/containers/{name}/json")["State"]
    assert state["Status"] == "exited" and state["Health"]["Status"] == "unhealthy" and len(state["Health"]["Log"]) >= 3
    kept = state["Health"]["Log"]
    engine.pier("start", name).ok()
    first = health(engine, name)
    assert first["FailingStreak"] == 0 and [one for one in first["Log"] if one in kept] and len(first["Log"]) <= 5
    becomes(engine, name, "healthy")


def test_checks_that_cannot_be_run_are_failures_that_say_why(engine: Engine) -> None:
    name = run(engine, "CMD", "nope", "-x", Retries=1)
    one = answers(engine, name)[0]
    assert one["ExitCode"] == -1 and 'exec: "nope": executable file not found in $PATH' in one["Output"]
    assert becomes(engine, name, "unhealthy")
    shell = run(engine, "CMD-SHELL", "true", command=["sh", "-c", "rm -f /bin/sh; exec sleep 1000"])
    one = eventually(lambda: [one for one in answers(engine, shell) if one["ExitCode"] == -1], says="the shell is gone")[0]
    assert "no such file or directory" in one["Output"]


def test_of_endless_output_the_beginning_is_kept(engine: Engine) -> None:
    name = run(engine, "CMD-SHELL", "yes | head -c 3000000; exit 3")
    one = answers(engine, name)[0]
    assert one["ExitCode"] == 3 and len(one["Output"]) == 4096 + 3 and one["Output"].endswith("y\n...")
    endless = run(engine, "CMD", "yes", Timeout=100 * MS)
    one = answers(engine, endless)[0]
    assert one["ExitCode"] == -1 and one["Output"].startswith("Health check exceeded timeout (100ms): y\ny\n")


def test_a_check_that_hangs_is_ended_with_its_children(engine: Engine) -> None:
    start: dict[str, Any] = {"StartPeriod": 60_000 * MS, "StartInterval": 50 * MS}
    name = run(engine, "CMD-SHELL", "echo before; sleep 333 & sleep 334", interval_ms=20_000, Timeout=100 * MS, **start)
    log = answers(engine, name, 2)
    assert {(one["ExitCode"], one["Output"]) for one in log} == {(-1, "Health check exceeded timeout (100ms): before\n")}
    assert health(engine, name)["Status"] == "starting" and health(engine, name)["FailingStreak"] == 0
    assert len([line for line in processes(engine, name) if "sleep 333" in line]) <= 1  # of the check of the moment
    engine.api("POST", f"/containers/{name}/stop", t=0).ok(204)
    # the check is over before the next one begins
    assert all(a["End"] < b["Start"] for a, b in pairwise(log))


def test_a_container_that_ends_during_a_check(engine: Engine) -> None:
    name = run(engine, "CMD", "sleep", "335")
    eventually(lambda: any("sleep 335" in line for line in processes(engine, name)), says="the check runs")
    engine.api("POST", f"/containers/{name}/kill").ok(204)
    eventually(lambda: not engine.api.get(f"/containers/{name}/json")["State"]["Running"], says="it ends")
    assert health(engine, name) == {"Status": "unhealthy", "FailingStreak": 0, "Log": []}
    engine.api("DELETE", f"/containers/{name}").ok(204)


def test_a_pump_that_is_killed_costs_no_answer(engine: Engine) -> None:
    name = run(engine, "CMD-SHELL", "sleep 0.3; echo late", interval_ms=1)
    eventually(lambda: any("sleep 0.3" in line for line in processes(engine, name)), says="the check runs")
    engine.kill("pump")
    assert {one["ExitCode"] for one in answers(engine, name, 2)} == {0}


def test_without_checks_nothing_is_said(engine: Engine) -> None:
    name = run(engine, "NONE")
    assert "Health" not in engine.api.get(f"/containers/{name}/json")["State"]
    assert name[:12] in engine.pier("ps", "-q", "--filter", "health=none").ok().out
    body = {"Image": "busybox:latest", "Cmd": LIVES, "Healthcheck": {"Test": ["curl", "x"]}}
    engine.api("POST", "/containers/create", body).refused(400, "Test in Healthcheck begins with 'curl'")


def test_a_daemon_that_is_killed_goes_on_with_what_was_known(engine: Engine) -> None:
    well = run(engine, "CMD-SHELL", "echo $$", interval_ms=300)
    hangs = run(engine, "CMD-SHELL", "sleep 336 & sleep 337", Timeout=60_000 * MS)
    becomes(engine, well, "healthy")
    eventually(lambda: any("sleep 337" in line for line in processes(engine, hangs)), says="the check runs")
    log = answers(engine, well, 2)
    time.sleep(0.1)  # the note of it is not waited for: running.DELAY_S
    engine.kill("daemon")
    engine.start()
    again = health(engine, well)
    assert again["Status"] == "healthy" and [one for one in again["Log"] if one in log]
    assert answers(engine, well, 4)[-1]["ExitCode"] == 0
    eventually(lambda: len([line for line in processes(engine, hangs) if "sleep 337" in line]) <= 1, says="the check of the last daemon is ended")
    assert health(engine, hangs)["Status"] == "starting"
    # one that cannot make a check tries again
    engine.pier("rm", "-f", hangs).ok()
    engine.restart(PIER_FAIL="health.start:error@2")
    said = "the check could not be made"

    def tried_again() -> list[dict[str, Any]]:
        log = health(engine, well)["Log"]
        return log if any(said in one["Output"] for one in log[:-1]) else []

    log = eventually(tried_again, says="the check after one that could not be made")
    assert [one["ExitCode"] for one in log if said in one["Output"]] == [-1] and log[-1]["ExitCode"] == 0
    # one that is told to end takes its checks along
    engine.stop(signal.SIGTERM)
    engine.start()
    assert health(engine, well)["Status"] == "healthy"
