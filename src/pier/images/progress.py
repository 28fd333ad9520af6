"""The lines of a progress stream, as Docker's clients read them. Pure.

Sources: the jsonmessage format of the Engine API ("JSON progress"); the bar is 50 wide whatever the terminal.
"""

from typing import Any

Line = dict[str, Any]
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")


def human_size(size_bytes: float) -> str:
    """`1.984MB`: decimal units, four significant digits."""
    unit = 0
    while size_bytes >= 1000 and unit < len(_UNITS) - 1:
        size_bytes /= 1000
        unit += 1
    return f"{size_bytes:.4g}{_UNITS[unit]}"


def bar(current: int, total: int) -> str:
    """The text of `progress`: "" before the start, a plain size where the total is not known."""
    if current <= 0 and total <= 0:
        return ""
    if total <= 0:
        return f"{human_size(current):>8}"
    half = max(0, min(50, int(current / total * 100) // 2))
    counts = f"{human_size(current):>8}" + (f"/{human_size(total)}" if current <= total else "")
    return f"[{'=' * half}>{' ' * (50 - half)}] {counts}"


def step(status: str, name: str, current: int, total: int) -> Line:
    """One step of something that takes a while."""
    detail = {key: value for key, value in (("current", current), ("total", total)) if value}
    text = bar(current, total)
    return {"status": status, "progressDetail": detail, **({"progress": text} if text else {}), "id": name}


def stream(text: str) -> Line:
    """A line to print; the newline is added."""
    return {"stream": text + "\n"}


def failed(message: str) -> Line:
    """The last line of a stream that went wrong after its status was sent."""
    return {"errorDetail": {"message": message}, "error": message}
