"""Signal names and numbers as Docker takes them."""

import signal

from pier.errors import Invalid

NAMES = {s.name.removeprefix("SIG"): int(s) for s in signal.Signals} | {"IOT": 6, "POLL": 29, "CLD": 17, "UNUSED": 31}
NAMES |= {f"RTMIN+{n}": 34 + n for n in range(16)} | {f"RTMAX-{n}": 64 - n for n in range(15)} | {"RTMIN": 34, "RTMAX": 64}
_MOST_DIGITS = 9


def parse_signal(text: str) -> int:
    """The number of a signal given as `9`, `KILL` or `SIGKILL`. Raises Invalid (`invalid signal: X`)."""
    if text.isascii() and text.isdigit():
        number = int(text[:_MOST_DIGITS])
        if number == 0 or len(text) > _MOST_DIGITS:
            raise Invalid(f"invalid signal: {text}")
        return number
    found = NAMES.get(text.upper().removeprefix("SIG"))
    if found is None:
        raise Invalid(f"invalid signal: {text}")
    return found


def supported(number: int) -> bool:
    """Whether Linux has a signal of this number."""
    return number in NAMES.values()
