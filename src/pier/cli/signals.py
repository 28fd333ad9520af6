"""Signals of this process as readable events, so that one poll loop serves them. Uses the C half of `signal`: no enum."""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal

_NAMES = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD",
    "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
]  # fmt: skip
SIGINT, SIGTERM, WINCH = 2, 15, 28
# CHLD, PIPE and URG are this process's own affairs; KILL and STOP cannot be caught; faults must kill.
_NOT_PROXIED = frozenset([4, 5, 7, 8, 9, 11, 13, 17, 19, 23, WINCH])
PROXIED = tuple(number for number in range(1, 32) if number not in _NOT_PROXIED)
ENDING = (1, 2, 3, 15)


def name_of(number: int) -> str:
    """`TERM` of 15."""
    return _NAMES[number - 1] if 0 < number <= len(_NAMES) else str(number)


class Signals:
    """Catches signals for a `with` block: `fd` becomes readable, `take()` says which came. The old handlers come back."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self.numbers = numbers
        self.fd = -1
        self._write_fd = -1
        self._pending: list[int] = []
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Signals":
        self.fd, self._write_fd = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
        for number in self.numbers:
            self._before[number] = _signal.signal(number, self._caught)
        return self

    def _caught(self, number: int, frame: object) -> None:
        self._pending.append(number)
        try:
            posix.write(self._write_fd, b"!")
        except BlockingIOError:
            pass

    def take(self) -> list[int]:
        """The signals that came since the last call."""
        try:
            posix.read(self.fd, 4096)
        except BlockingIOError:
            pass
        pending, self._pending = self._pending, []
        return pending

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            _signal.signal(number, handler)  # type: ignore[arg-type]
        posix.close(self.fd)
        posix.close(self._write_fd)
