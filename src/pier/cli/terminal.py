"""The user's terminal: raw mode and its end, size, detach keys."""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"


class RawMode:
    """Puts a terminal into raw mode for a `with` block; leaving it restores what was, whatever happened inside.

    Where `fd` is no terminal, or `wanted` is false, nothing is done.
    """

    def __init__(self, fd: int, wanted: bool = True) -> None:
        self.fd = fd
        self._before: list[Any] | None = None
        self._wanted = wanted and posix.isatty(fd)

    def __enter__(self) -> "RawMode":
        if self._wanted:
            import termios  # 0.3 ms that only a terminal is worth

            self._before = termios.tcgetattr(self.fd)
            termios.tcsetattr(self.fd, termios.TCSANOW, raw_attributes(self._before))
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def restore(self) -> None:
        """Give the terminal back as it was; may be called more than once."""
        if self._before is not None:
            import termios

            before, self._before = self._before, None
            termios.tcsetattr(self.fd, termios.TCSANOW, before)


def raw_attributes(attributes: "list[Any]") -> "list[Any]":
    """Termios attributes for raw mode (cfmakeraw of termios(3), as moby/term does it)."""
    import termios

    iflag, oflag, cflag, lflag, ispeed, ospeed, control = attributes
    iflag &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON)
    oflag &= ~termios.OPOST
    lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    control = list(control)
    control[termios.VMIN], control[termios.VTIME] = 1, 0
    return [iflag, oflag, cflag, lflag, ispeed, ospeed, control]


def size(fd: int = 1) -> tuple[int, int]:
    """(rows, columns) of a terminal, (0, 0) where it is none."""
    try:
        found = posix.get_terminal_size(fd)
    except OSError:
        return 0, 0
    return found.lines, found.columns


def parse_detach_keys(text: str) -> bytes:
    """The bytes of `ctrl-p,ctrl-q` or `a,b`. Raises ValueError naming the key."""
    result = b""
    for key in text.split(","):
        if len(key) == 1 and key.isascii():
            result += key.encode()
            continue
        letter = key[5:] if key.startswith("ctrl-") else ""
        if len(letter) == 1 and "a" <= letter <= "z":
            result += bytes([ord(letter) - 96])
        elif len(letter) == 1 and letter in "@[\\]^_":
            result += bytes([ord(letter) & 31])
        else:
            raise ValueError(f"Unknown character: '{letter or key}'")
    return result


class DetachFilter:
    """Finds the detach sequence in what is typed. Keys that may begin it are held back until it is clear that they do not."""

    __slots__ = ("_held", "keys")

    def __init__(self, keys: bytes) -> None:
        self.keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(what to send on, whether the sequence was completed: then the rest is dropped)."""
        if not self.keys:
            return data, False
        out = bytearray()
        for byte in data:
            if byte == self.keys[len(self._held)]:
                self._held += bytes([byte])
                if self._held == self.keys:
                    return bytes(out), True
                continue
            out += self._held
            self._held = b""
            if byte == self.keys[0]:
                self._held = bytes([byte])
            else:
                out.append(byte)
        return bytes(out), False
