import pytest
from msgspec import UNSET

from pier.api.models.containers import ContainerConfig, HealthConfig
from pier.containers import health
from pier.containers.health import Check, Health, Rules
from pier.containers.phrases import go_duration, status
from pier.errors import Invalid

S = 10**9


def answer(code: int, at_s: float = 100.0) -> Check:
    return Check(int(at_s * S), int(at_s * S) + 1, code, "")


def history(rules: Rules, *answers: tuple[float, int]) -> list[tuple[str, int]]:
    """(status, failing streak) after each answer of (seconds since the start, exit code)."""
    now, found = health.begun(None), list[tuple[str, int]]()
    for at_s, code in answers:
        now = health.after(now, answer(code, at_s), rules, 0)
        found.append((now.status, now.failing_streak))
    return found


RULES = Rules(("true",), retries=2)


def test_a_container_is_unhealthy_after_so_many_failures_in_a_row_and_healthy_after_one_success() -> None:
    assert history(RULES, (1, 1), (2, 0), (3, 1), (4, 7), (5, 1), (6, 0)) == [
        ("starting", 1), ("healthy", 0), ("healthy", 1), ("unhealthy", 2), ("unhealthy", 3), ("healthy", 0),
    ]  # fmt: skip


def test_failures_in_the_start_period_do_not_count_until_the_first_success() -> None:
    rules = Rules(("true",), retries=1, start_period_ns=10 * S)
    assert history(rules, (1, 1), (9.9, 1), (10, 1)) == [("starting", 0), ("starting", 0), ("unhealthy", 1)]
    assert history(rules, (1, 1), (2, 0), (3, 1)) == [("starting", 0), ("healthy", 0), ("unhealthy", 1)]


def test_a_check_that_could_not_be_run_is_a_failure() -> None:
    assert history(Rules(("true",), retries=1), (1, health.FAILED)) == [("unhealthy", 1)]


def test_the_last_five_answers_are_kept_also_over_a_new_start() -> None:
    now = Health()
    for code in range(7):
        now = health.after(now, answer(code), RULES, 0)
    assert [one.exit_code for one in now.log] == [2, 3, 4, 5, 6]
    assert health.begun(now) == Health("starting", 0, now.log)
    assert health.halted(health.begun(now)) == Health("unhealthy", 0, now.log)


def test_the_pause_is_the_start_interval_only_while_it_starts() -> None:
    rules = Rules(("true",), interval_ns=30 * S, start_interval_ns=S, start_period_ns=10 * S)
    assert health.pause_ns(Health(), rules, 9 * S) == S
    assert health.pause_ns(Health(), rules, 10 * S) == 30 * S
    assert health.pause_ns(Health("healthy"), rules, 9 * S) == 30 * S


@pytest.mark.parametrize(
    ("config", "rules"),
    [
        (ContainerConfig(), None),
        (ContainerConfig(healthcheck=HealthConfig(test=["NONE"], interval=S)), None),
        (ContainerConfig(healthcheck=HealthConfig(interval=S)), None),
        (ContainerConfig(healthcheck=HealthConfig(test=["curl", "x"])), None),
        (ContainerConfig(healthcheck=HealthConfig(test=["CMD", "a", "b c"])), Rules(("a", "b c"))),
        (ContainerConfig(healthcheck=HealthConfig(test=["CMD-SHELL", "a b"], retries=0)), Rules(("/bin/sh", "-c", "a b"))),
        (
            ContainerConfig(
                shell=["/bin/bash", "-ec"],
                healthcheck=HealthConfig(test=["CMD-SHELL", "a"], interval=1, timeout=2, start_period=3, start_interval=4, retries=5),
            ),
            Rules(("/bin/bash", "-ec", "a"), 1, 2, 3, 4, 5),
        ),
    ],
)
def test_how_a_container_is_checked(config: ContainerConfig, rules: Rules | None) -> None:
    assert health.rules(config) == rules


def test_what_nobody_gave_has_dockers_defaults() -> None:
    assert Rules(("true",)) == Rules(("true",), 30 * S, 30 * S, 0, 5 * S, 3)


def test_a_request_takes_from_the_image_what_it_leaves_out() -> None:
    image = HealthConfig(test=["CMD", "image"], interval=7, retries=4)
    assert health.merged(UNSET, image) == image
    assert health.merged(image, UNSET) == image
    assert health.merged(HealthConfig(interval=2), image) == HealthConfig(test=["CMD", "image"], interval=2, retries=4)
    assert health.merged(HealthConfig(test=["NONE"], retries=0), image) == HealthConfig(test=["NONE"], interval=7, retries=4)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (HealthConfig(interval=999_999), "Interval in Healthcheck cannot be less than 1ms"),
        (HealthConfig(timeout=-1), "Timeout in Healthcheck cannot be less than 1ms"),
        (HealthConfig(start_period=1), "StartPeriod in Healthcheck cannot be less than 1ms"),
        (HealthConfig(start_interval=1), "StartInterval in Healthcheck cannot be less than 1ms"),
        (HealthConfig(retries=-1), "Retries in Healthcheck cannot be negative"),
        (HealthConfig(test=["curl", "x"]), "Test in Healthcheck begins with 'curl': the first word has to be one of NONE, CMD, CMD-SHELL"),
        (HealthConfig(test=["CMD"]), "Test in Healthcheck has no command after CMD"),
        (HealthConfig(test=["CMD", "a\0b"]), "invalid NUL byte in 'a\\x00b'"),
    ],
)
def test_what_cannot_be_done_is_refused(wanted: HealthConfig, text: str) -> None:
    with pytest.raises(Invalid) as told:
        health.check(wanted)
    assert str(told.value) == text


def test_the_least_that_can_be_done_is_not() -> None:
    health.check(UNSET)
    health.check(HealthConfig(test=[]))
    health.check(HealthConfig(test=["NONE"], interval=0, retries=0))
    health.check(HealthConfig(test=["CMD-SHELL", ""], interval=10**6))


def test_output_is_bounded_and_never_bad_text() -> None:
    assert health.output(b"a" * 4096) == "a" * 4096
    assert health.output(b"a" * 4097) == "a" * 4096 + "..."
    assert health.output(b"\xff") == "\ufffd"
    assert health.too_late(Rules((), timeout_ns=S // 2), "") == "Health check exceeded timeout (500ms)"
    assert health.too_late(Rules((), timeout_ns=90 * S), "so far") == "Health check exceeded timeout (1m30s): so far"


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"), (1, "1ns"), (1500, "1.5µs"), (10**6, "1ms"), (1_250_000, "1.25ms"), (S, "1s"), (1_500_000_000, "1.5s"), (60 * S, "1m0s"),
        (3600 * S, "1h0m0s"), (3661 * S + 5 * 10**8, "1h1m1.5s"), (1_000_000_001, "1.000000001s"),
    ],
)  # fmt: skip
def test_durations_in_gos_words(ns: int, text: str) -> None:
    assert go_duration(ns) == text


def test_the_status_of_a_list() -> None:
    assert status("running", 0, 0, 0, 5 * S, health.label(Health())) == "Up 5 seconds (health: starting)"
    assert status("running", 0, 0, 0, 5 * S, health.label(Health("unhealthy"))) == "Up 5 seconds (unhealthy)"
    assert status("exited", 0, 0, S, 6 * S, health.label(Health("unhealthy"))) == "Exited (0) 5 seconds ago"
