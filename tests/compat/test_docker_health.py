"""Health checks through the docker command and docker-py."""

import json
import time
from typing import Any

import pytest

from tests.harness.commands import eventually

from .conftest import Target

QUICK = ("--health-interval", "100ms", "--health-retries", "2")


def health(docker: Target, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker.inspect(name, "{{json .State.Health}}"))
    return found


def becomes(docker: Target, name: str, status: str) -> dict[str, Any]:
    eventually(lambda: health(docker, name)["Status"] == status, says=f"{name} is {status}")
    return health(docker, name)


def listed(docker: Target, *filters: str) -> list[str]:
    """The statuses of this test's running containers."""
    words = [word for one in (f"label=pier.test={docker.token}", *filters) for word in ("--filter", one)]
    return docker("ps", *words, "--format", "{{.Status}}").ok().out.splitlines()


def test_status_and_log(docker: Target, image: str) -> None:
    name = docker.background("--health-cmd", "echo one; echo two >&2; test -e /ok", *QUICK, "--health-start-period", "1s", "--health-start-interval",
                             "1s", image, "sleep", "60")  # fmt: skip
    assert health(docker, name) == {"Status": "starting", "FailingStreak": 0, "Log": []}
    assert listed(docker)[0].endswith(" (health: starting)")
    assert becomes(docker, name, "unhealthy")["FailingStreak"] >= 2
    log = health(docker, name)["Log"]
    assert 2 <= len(log) <= 5 and {tuple(one) for one in log} == {("Start", "End", "ExitCode", "Output")}
    assert all(one["ExitCode"] == 1 and sorted(one["Output"].split()) == ["one", "two"] for one in log)
    docker("exec", name, "touch", "/ok").ok()
    assert becomes(docker, name, "healthy")["FailingStreak"] == 0
    assert [one.endswith(" (healthy)") for one in listed(docker, "health=healthy")] == [True]
    assert listed(docker, "health=unhealthy", "health=starting", "health=none") == []
    docker("stop", "-t", "0", name).ok()
    assert becomes(docker, name, "unhealthy")["Log"]
    docker("start", name).ok()
    assert len(becomes(docker, name, "healthy")["Log"]) == 5


def test_what_goes_wrong_is_in_the_log(docker: Target, image: str) -> None:
    slow = docker.background("--health-cmd", "echo begun; exec sleep 30", *QUICK, "--health-timeout", "500ms", image, "sleep", "60")
    loud = docker.background("--health-cmd", "yes | head -c 50000", *QUICK, image, "sleep", "60")
    gone = docker.background("--health-cmd", "true", *QUICK, image, "sh", "-c", "rm /bin/sh; exec sleep 60")
    assert becomes(docker, loud, "healthy")["Log"][0]["Output"] == "y\n" * 2048 + "..."
    one = becomes(docker, slow, "unhealthy")["Log"][0]
    assert (one["ExitCode"], one["Output"]) == (-1, "Health check exceeded timeout (500ms): begun\n")
    one = becomes(docker, gone, "unhealthy")["Log"][-1]
    assert one["ExitCode"] == -1 and 'exec: "/bin/sh": stat /bin/sh: no such file or directory' in one["Output"]


def test_configuration_of_flags_and_image(docker: Target, image: str) -> None:
    made = docker.name()
    base = docker("create", image, "sleep", "60").ok().line
    docker("commit", "--change", "HEALTHCHECK --interval=7s --timeout=3s --retries=4 --start-period=9s CMD test -e /ok", base, made).ok()
    try:
        for flags, change in (
            ((), {}),
            (("--health-cmd", "false"), {"Test": ["CMD-SHELL", "false"]}),
            (("--health-interval", "1.5s", "--health-start-interval", "2m"), {"Interval": 1_500_000_000, "StartInterval": 120_000_000_000}),
            (("--no-healthcheck",), {"Test": ["NONE"]}),
        ):
            image_has = {"Test": ["CMD-SHELL", "test -e /ok"], "Interval": 7 * 10**9, "Timeout": 3 * 10**9, "StartPeriod": 9 * 10**9, "Retries": 4}
            name = docker("create", *flags, made).ok().line
            assert json.loads(docker.inspect(name, "{{json .Config.Healthcheck}}")) == image_has | change
            docker("rm", name).ok()
        assert docker.inspect(docker.background("--no-healthcheck", made), "{{json .State.Health}}") == "null"
    finally:
        docker("rm", "-f", *docker("ps", "-aq", "--filter", f"label=pier.test={docker.token}").ok().out.split())
        docker("rmi", made)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--health-interval", "1us"), "Error response from daemon: Interval in Healthcheck cannot be less than 1ms"),
        (("--health-timeout", "999us"), "Error response from daemon: Timeout in Healthcheck cannot be less than 1ms"),
        (("--health-start-period", "1ns"), "Error response from daemon: StartPeriod in Healthcheck cannot be less than 1ms"),
        (("--health-start-interval", "1ns"), "Error response from daemon: StartInterval in Healthcheck cannot be less than 1ms"),
    ],
)
def test_bad_values(docker: Target, image: str, flags: tuple[str, ...], text: str) -> None:
    docker("run", "--health-cmd", "true", *flags, image, "true").fails(125, text)


def test_docker_py(docker: Target, client: Any) -> None:
    check = {"test": ["CMD", "test", "-e", "/ok"], "interval": 100_000_000, "timeout": 10**9, "retries": 1, "start_period": 0}
    labels = {"pier.test": docker.token}
    made = client.containers.run(docker.image, ["sleep", "60"], detach=True, healthcheck=check, labels=labels)
    assert made.attrs["State"].get("Health", {}).get("Status", "starting") == "starting"
    eventually(lambda: client.containers.get(made.id).health == "unhealthy", says="unhealthy")
    assert made.exec_run(["touch", "/ok"]).exit_code == 0
    eventually(lambda: client.containers.get(made.id).health == "healthy", says="healthy")
    assert [one.id for one in client.containers.list(filters={"health": "healthy"})] == [made.id]
    seen = [event["Action"] for event in client.events(since=1, until=time.time(), decode=True, filters={"container": made.id})]
    assert [action for action in seen if action.startswith("health_status")] == ["health_status: unhealthy", "health_status: healthy"]
    assert "exec_create: test -e /ok" in seen and "exec_die" in seen
