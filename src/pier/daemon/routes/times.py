"""Times in query parameters."""

from pier.errors import Internal

_MOST_DIGITS = 20  # with a sign, of an int64


def unix_ns(text: str) -> int | None:
    """Nanoseconds since 1970 of `seconds[.fraction]`; None where nothing is given.

    Raises Internal with the words of Go's strconv (Docker answers 500). Durations are made absolute by the client.
    """
    if not text:
        return None
    seconds, dot, fraction = text.partition(".")
    for part in (seconds.removeprefix("-"), fraction if dot else "0"):
        if not (part.isascii() and part.isdigit()):
            raise Internal(f'strconv.ParseInt: parsing "{part if part == fraction else seconds}": invalid syntax')
    if len(seconds) > _MOST_DIGITS:
        raise Internal(f'strconv.ParseInt: parsing "{seconds}": value out of range')
    nanos = int((fraction + "000000000")[:9])
    whole = int(seconds) * 1_000_000_000
    return whole - nanos if seconds.startswith("-") else whole + nanos
