"""The JSON messages of load, import and pull as lines: bars on a terminal, plain lines elsewhere."""

from pier.cli.session import Cli, CommandError, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def show(cli: Cli, documents: "Iterable[Any]", fd: int, quiet: bool = False) -> None:
    """Write each message. Raises CommandError with the text of an error in the stream."""
    import os

    terminal = os.isatty(fd)
    rows: dict[str, int] = {}
    for message in documents:
        if message.get("errorDetail") or message.get("error"):
            detail = message.get("errorDetail") or {}
            raise CommandError(str(detail.get("message") or message.get("error")))
        if quiet and not message.get("stream"):
            continue
        identifier = str(message.get("id") or "")
        line = _line(message, terminal)
        if line is None:
            continue
        if terminal and identifier and "stream" not in message:
            if identifier not in rows:
                rows[identifier] = len(rows)
                write_all(fd, line + "\n")
            else:
                up = len(rows) - rows[identifier]
                write_all(fd, f"\x1b[{up}A\x1b[2K\r{line}\r\x1b[{up}B")
        else:
            rows.clear()
            write_all(fd, line if "stream" in message else line + "\n")


def _line(message: "dict[str, Any]", terminal: bool) -> "str | None":
    if "stream" in message:
        return str(message["stream"])
    text = str(message.get("status") or "")
    detail = message.get("progressDetail") or {}
    current, total = detail.get("current") or 0, detail.get("total") or 0
    if current or total:
        if not terminal:
            return None  # a bar that moves is for terminals only
        text += " " + bar(current, total)
    prefix = f"{message['id']}: " if message.get("id") else ""
    return prefix + text if text else None


def bar(current: int, total: int) -> str:
    """Fifty columns of progress and the sizes."""
    from pier.cli.units import human_size

    if total <= 0:
        return f"{human_size(current)}"
    share = min(50, int(current / total * 50))
    head = "=" * share + (">" if share < 50 else "")
    return f"[{head.ljust(50)}]  {human_size(current)}/{human_size(total)}"
