"""The JSON messages of pull, push, load and import: bars that move on a terminal, plain lines elsewhere.

On a terminal each thing that has an ID has a line of its own in a block, drawn anew where it stands. A line never wraps (it is cut at the right
edge), and what has left the screen at the top is not drawn any more, so that the block holds together in a window of any size. When the window's
width changes, terminals wrap what is there in ways of their own: the block is then begun anew below.
"""

import posix
import time

from pier.cli.session import Cli, CommandError, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_BAR_COLUMNS = 110  # narrower windows show numbers only, as in Docker
_BAR = 50


def show(cli: Cli, documents: "Iterable[Any]", fd: int, quiet: bool = False, aux: "Callable[[Any], None] | None" = None) -> None:
    """Write each message to `fd`; `aux` gets what is not for eyes. quiet: only lines to print come through.

    Raises CommandError with the text of an error in the stream.
    """
    block = Block(fd) if posix.isatty(fd) else None
    for message in documents:
        if message.get("errorDetail") or message.get("error"):
            detail = message.get("errorDetail") or {}
            raise CommandError(str(detail.get("message") or message.get("error")))
        if message.get("aux") is not None:
            if aux is not None:
                aux(message["aux"])
            continue
        if "stream" in message:
            _close(block)
            write_all(fd, str(message["stream"]))
        elif quiet:
            continue
        elif block is not None and message.get("id") and "progressDetail" in message:
            block.draw(str(message["id"]), lambda columns, message=message: line(message, columns))  # type: ignore[misc]
        elif block is not None or not _moves(message):
            _close(block)
            text = line(message, 0)
            if text:
                write_all(fd, text + "\n")


def _close(block: "Block | None") -> None:
    if block is not None:
        block.close()


def _moves(message: "dict[str, Any]") -> bool:
    detail = message.get("progressDetail") or {}
    return bool(detail.get("current") or detail.get("total"))


def line(message: "dict[str, Any]", columns: int) -> str:
    """The text of one message for a window of so many columns (0: no terminal)."""
    prefix = f"{message['id']}: " if message.get("id") else ""
    status = str(message.get("status") or "")
    counts = bar(message.get("progressDetail") or {}, columns) if columns else ""
    return prefix + status + (f" {counts}" if counts else "")


def bar(detail: "dict[str, Any]", columns: int) -> str:
    """A bar and the sizes (or another unit's numbers); where the total is not known, the size alone; "" before there is any."""
    from pier.cli.units import human_size

    current, total = int(detail.get("current") or 0), int(detail.get("total") or 0)
    if current <= 0 and total <= 0:
        return ""
    unit = detail.get("units")
    shown = f"{current}" if unit else f"{human_size(current):>8}"
    if total <= 0:
        return f"{shown} {unit}" if unit else shown
    counts = shown + (f"/{total}" if unit else f"/{human_size(total)}" if current <= total else "") + (f" {unit}" if unit else "")
    if columns <= _BAR_COLUMNS:
        return counts + _remaining(detail, current, total)
    done = min(_BAR, int(current / total * 100) // 2)
    return f"[{'=' * done}>{' ' * (_BAR - done)}] {counts}{_remaining(detail, current, total)}"


def _remaining(detail: "dict[str, Any]", current: int, total: int) -> str:
    """How long it will take, where the message says when it began (Docker's `start`, in seconds since the epoch)."""
    start = detail.get("start")
    if not start or not 0 < current < total:
        return ""
    seconds = int((time.time() - start) / current * (total - current))
    return f" {seconds // 60}m{seconds % 60}s" if seconds >= 60 else f" {seconds}s" if seconds > 0 else ""


class Block:
    """Lines of a terminal that are drawn anew in place, the cursor below the last one between calls."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lines: dict[str, Callable[[int], str]] = {}
        self._columns = 0

    def draw(self, name: str, text: "Callable[[int], str]") -> None:
        """Show `text(columns)` in the line called `name`, a new one at the end where there is none of that name yet."""
        rows, columns = self._size()
        if self._lines and columns != self._columns:
            known, self._lines = self._lines, {}
            for other, shown in known.items():
                self._lines[other] = shown
                self._append(shown(columns), columns)
        self._columns = columns
        if name not in self._lines:
            self._lines[name] = text
            self._append(text(columns), columns)
            return
        self._lines[name] = text
        up = len(self._lines) - list(self._lines).index(name)
        if up < rows:
            write_all(self._fd, f"\x1b[{up}A\x1b[2K\r{self._cut(text(columns), columns)}\r\x1b[{up}B")

    def close(self) -> None:
        """Let go of the lines: what is written next stands below them."""
        self._lines.clear()

    def _append(self, text: str, columns: int) -> None:
        write_all(self._fd, f"\x1b[2K\r{self._cut(text, columns)}\n")

    @staticmethod
    def _cut(text: str, columns: int) -> str:
        clean = "".join(char if char.isprintable() else "�" for char in text)
        return clean[: columns - 1] if columns > 1 else clean

    def _size(self) -> tuple[int, int]:
        try:
            size = posix.get_terminal_size(self._fd)
        except OSError:
            return 24, 80
        return size.lines or 24, size.columns or 80
