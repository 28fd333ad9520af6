"""When to try again: how long to wait after which failure. Pure."""

from dataclasses import dataclass
from email.utils import parsedate_to_datetime

STATUSES = frozenset({429, 500, 502, 503, 504})
UNTOUCHED = frozenset({429, 503})  # of these the ones that say that nothing was done
LONGEST_WAIT_S = 60.0


@dataclass(frozen=True)
class Policy:
    """tries: how often something is done at most. The wait before the n-th repetition is first_s * 2^n, half of it at random."""

    tries: int = 5
    first_s: float = 0.5
    longest_s: float = LONGEST_WAIT_S

    def wait_s(self, failures: int, retry_after_s: float | None, chance: float) -> float | None:
        """Seconds to wait after the given number of failures (1 is the first), None to give up. chance: in [0, 1).

        What the server asks for (Retry-After) is kept; if it asks for more than `longest_s`, that is too long to keep anybody waiting: give up.
        """
        if failures >= self.tries:
            return None
        if retry_after_s is not None and retry_after_s > self.longest_s:
            return None
        usual: float = min(self.first_s * 2 ** min(failures - 1, 16), self.longest_s)
        return max(usual * (0.5 + chance / 2), retry_after_s or 0.0)


def retry_after_s(value: str, now_s: float) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, section 10.2.3: seconds or a date); None for none and for what cannot be read."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, TypeError, OverflowError):
        return None
