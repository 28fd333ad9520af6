"""Sizes, spans and times in the words that Docker's users read in tables (github.com/docker/go-units, Go's time)."""

import time


def human_size(size_bytes: float, precision: int = 4) -> str:
    """Decimal units, `precision` significant digits: 1.98MB."""
    return _scaled(size_bytes, 1000.0, precision, ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"))


def binary_size(size_bytes: float) -> str:
    """Binary units, four significant digits: 23.54GiB."""
    return _scaled(size_bytes, 1024.0, 4, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"))


def _scaled(size: float, base: float, precision: int, names: tuple[str, ...]) -> str:
    step = 0
    while size >= base and step < len(names) - 1:
        size /= base
        step += 1
    return f"{size:.{precision}g}{names[step]}"


def human_span(span_s: float) -> str:
    """A span in rough words: `7 seconds`, `About an hour`, `10 months`."""
    seconds = int(span_s)
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    minutes = seconds // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(span_s / 3600 + 0.5)
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
    return f"{int(span_s / 3600) // 24 // 365} years"


def since(unix_s: float) -> str:
    """How long ago a moment was: `7 seconds ago`."""
    return human_span(time.time() - unix_s) + " ago"


def go_time(unix_s: float) -> str:
    """A moment as Go's Time.String writes it in the local zone: `2026-11-21 12:28:10 +0000 UTC`."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(unix_s))


def rfc3339(unix_s: float) -> str:
    """A moment in RFC 3339, local zone, whole seconds."""
    moment = time.localtime(unix_s)
    zone = time.strftime("%z", moment)
    return time.strftime("%Y-%m-%dT%H:%M:%S", moment) + ("Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}")


def rfc3339_nano(unix_ns: int) -> str:
    """A moment in RFC 3339, local zone, with all nine digits of its nanoseconds."""
    text = rfc3339(unix_ns // 1_000_000_000)
    cut = 19
    return f"{text[:cut]}.{unix_ns % 1_000_000_000:09d}{text[cut:]}"


def ellipsis(text: str, columns: int) -> str:
    """`text` cut to `columns` with an ellipsis at the end where it is longer."""
    if len(text) <= columns:
        return text
    return text[: columns - 1] + "…" if columns > 1 else text[:columns]


def short_id(identifier: str) -> str:
    """The first twelve characters of an ID, without its algorithm."""
    _, colon, rest = identifier.partition(":")
    return (rest if colon else identifier)[:12]


def parse_moment(text: str, now_s: "float | None" = None) -> str:
    """`--since` and `--until` as the daemon wants them: `seconds[.nanoseconds]`.

    Takes a Unix time, a duration before now (`42m`), or a date and time as in RFC 3339 of any length. Raises ValueError.
    """
    plain = text.partition(".")
    if plain[0].lstrip("-").isdigit() and (not plain[1] or plain[2].isdigit()):
        return text
    try:
        span_ns = parse_span(text)
    except ValueError:
        pass
    else:
        now_ns = time.time_ns() if now_s is None else int(now_s * 1e9)
        return seconds_text(now_ns - span_ns)
    return seconds_text(_parse_date(text))


def seconds_text(unix_ns: int) -> str:
    """Nanoseconds as the daemon's `seconds.nanoseconds`."""
    return f"{unix_ns // 1_000_000_000}.{unix_ns % 1_000_000_000:09d}"


_SPANS_NS = {"ns": 1, "us": 1000, "µs": 1000, "μs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def parse_span(text: str) -> int:
    """A duration of Go's (`1h30m`, `250ms`) in nanoseconds. Raises ValueError with Go's text."""
    rest = text.lstrip("+-") if text[:1] in "+-" else text
    if rest == "0":
        return 0
    total = 0.0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    while rest:
        length = 0
        while length < len(rest) and (rest[length].isdigit() or rest[length] == "."):
            length += 1
        digits, rest = rest[:length], rest[length:]
        length = 0
        while length < len(rest) and not (rest[length].isdigit() or rest[length] == "."):
            length += 1
        unit, rest = rest[:length], rest[length:]
        if not digits or digits == "." or digits.count(".") > 1:
            raise ValueError(f'time: invalid duration "{text}"')
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in _SPANS_NS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        total += float(digits) * _SPANS_NS[unit]
    return int(-total if text[:1] == "-" else total)


def _parse_date(text: str) -> int:
    from datetime import datetime

    wrong = ValueError(f'failed to parse value as time or duration: "{text}"')
    head, _, fraction = text.partition(".")
    digits = ""
    while fraction[:1].isdigit():
        digits, fraction = digits + fraction[0], fraction[1:]
    try:
        moment = datetime.fromisoformat(head + fraction)
    except ValueError:
        raise wrong from None
    if moment.tzinfo is None:
        moment = moment.astimezone()
    return int(moment.timestamp()) * 1_000_000_000 + int(digits.ljust(9, "0")[:9] or "0")
