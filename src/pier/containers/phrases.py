"""Times and durations in Docker's words. Pure."""

import time


def rfc3339(time_ns: int) -> str:
    """`2026-11-21T07:49:24.946060390Z` without trailing zeros; Go's zero time for 0."""
    if not time_ns:
        return "0001-01-01T00:00:00Z"
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"


def human_duration(seconds: float) -> str:
    """`Less than a second`, `5 seconds`, `About a minute`, `3 weeks`: the words of Docker's units."""
    whole = int(seconds)
    minutes, hours = whole // 60, int(seconds / 3600 + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{hours // 24 // 365} years"


def go_duration(ns: int) -> str:
    """`500ms`, `1.5s`, `1m30s`, `1h0m0s`: as Go writes a duration that is not negative."""
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if 0 < ns < size * 1000:
            return f"{_decimal(ns, size)}{unit}"
    minutes, rest = divmod(ns, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    ahead = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{ahead}{_decimal(rest, 10**9)}s"


def _decimal(value: int, size: int) -> str:
    whole, fraction = divmod(value, size)
    digits = f"{fraction:0{len(str(size)) - 1}d}".rstrip("0") if fraction else ""
    return f"{whole}.{digits}" if digits else str(whole)


def status(state_status: str, exit_code: int, started_ns: int, finished_ns: int, now_ns: int, health: str = "") -> str:
    """The `Status` of a container in a list (`Up 5 minutes (healthy)`, `Exited (3) 2 hours ago`)."""
    since_start, since_end = human_duration((now_ns - started_ns) / 1e9), human_duration((now_ns - finished_ns) / 1e9)
    if state_status == "running":
        return f"Up {since_start} ({health})" if health else f"Up {since_start}"
    if state_status == "paused":
        return f"Up {since_start} (Paused)"
    if state_status == "restarting":
        return f"Restarting ({exit_code}) {since_end} ago"
    if state_status == "removing":
        return "Removal In Progress"
    if state_status == "dead":
        return "Dead"
    if state_status == "created" or not finished_ns:
        return "Created"
    return f"Exited ({exit_code}) {since_end} ago"
