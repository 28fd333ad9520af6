from pier.api.models.containers import RestartPolicy
from pier.containers import policy
from pier.containers.record import State
from pier.containers.restore import decide
from pier.runtime.supervisor import Exit, Kept

ALWAYS, FAILURE, UNLESS, NO = (RestartPolicy(name=n) for n in ("always", "on-failure", "unless-stopped", "no"))
THREE = RestartPolicy(name="on-failure", maximum_retry_count=3)
EXIT = Exit("a", 5, 1, 0, False, 7)


def test_who_is_started_again() -> None:
    assert policy.wants_restart(ALWAYS, State(), 0)
    assert not policy.wants_restart(ALWAYS, State(stopped_by_user=True), 0)
    assert not policy.wants_restart(NO, State(), 1)
    assert policy.wants_restart(FAILURE, State(restart_count=99), 1)
    assert not policy.wants_restart(FAILURE, State(), 0)
    assert policy.wants_restart(THREE, State(restart_count=2), 1)
    assert not policy.wants_restart(THREE, State(restart_count=3), 1)


def test_who_is_started_with_the_daemon() -> None:
    stopped = State(status="exited", ever_started=True, stopped_by_user=True)
    assert policy.wants_start_at_boot(ALWAYS, stopped)
    assert not policy.wants_start_at_boot(UNLESS, stopped)
    assert not policy.wants_start_at_boot(ALWAYS, State())
    assert policy.wants_start_at_boot(FAILURE, State(status="restarting", ever_started=True))
    assert not policy.wants_start_at_boot(FAILURE, State(status="exited", ever_started=True))


def test_backoff_doubles_to_a_minute_and_starts_anew_after_ten_good_seconds() -> None:
    waits, last = [], 0.0
    for _ in range(12):
        last = policy.next_backoff_s(last, 0.5)
        waits.append(last)
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == 60.0
    assert policy.next_backoff_s(60.0, 10.0) == 0.1


def test_what_a_new_daemon_does_with_what_it_finds() -> None:
    runs, over = Kept("a", 5, 1, None, ()), Kept("a", 5, 1, EXIT, ())
    assert decide(State(), runs, True, False).action == "adopt"
    assert decide(State(status="running"), over, False, False) == decide(State(), over, True, False)
    assert decide(State(), over, True, False).exit is EXIT
    assert decide(State(), None, True, False).action == "search"
    assert decide(State(status="running"), None, False, False).action == "lost"
    assert decide(State(status="running"), None, False, True).erase
    assert decide(State(status="removing"), None, False, False).erase
    assert decide(State(), None, False, False).action == "rest"
    assert decide(State(status="exited", ever_started=True), None, False, True).erase
