"""Restart policies. Pure."""

from pier.api.models.containers import RestartPolicy
from pier.containers.record import State

FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 60.0
HEALTHY_AFTER_S = 10.0


def wants_restart(policy: RestartPolicy, state: State, exit_code: int) -> bool:
    """Whether a container that has just ended is to be started again."""
    if state.stopped_by_user:
        return False
    if policy.name in ("always", "unless-stopped"):
        return True
    if policy.name == "on-failure":
        return exit_code != 0 and (not policy.maximum_retry_count or state.restart_count < policy.maximum_retry_count)
    return False


def wants_start_at_boot(policy: RestartPolicy, state: State) -> bool:
    """Whether a daemon that has just come up is to start a container that does not run.

    `always` starts also what a user stopped; `on-failure` goes on where a failure or the reboot ended it, unless that was its last try.
    """
    if not state.ever_started:
        return False
    if policy.name == "always":
        return True
    if policy.name == "unless-stopped":
        return not state.stopped_by_user
    return policy.name == "on-failure" and (state.restarting or wants_restart(policy, state, state.exit_code))


def next_backoff_s(previous_s: float, up_s: float) -> float:
    """How long to wait before the next start, after a run of `up_s` seconds."""
    if not previous_s or up_s >= HEALTHY_AFTER_S:
        return FIRST_BACKOFF_S
    return min(previous_s * 2, LONGEST_BACKOFF_S)
