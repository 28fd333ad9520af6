"""Answers as bytes. Pure, but for the clock."""

import time
from email.utils import formatdate
from http import HTTPStatus

_REASONS = {status.value: status.phrase for status in HTTPStatus}
LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_date = (0, "")


def head(status: int, headers: list[tuple[str, str]]) -> bytes:
    """Status line and headers. Raises ValueError for a line break in a header: it would begin another one."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}"]
    for name, value in headers:
        if "\n" in value or "\r" in value:
            raise ValueError(f"header {name} has a line break: {value!r}")
        lines.append(f"{name}: {value}")
    lines.append(f"Date: {date()}\r\n\r\n")
    return "\r\n".join(lines).encode("latin-1", "replace")


def date() -> str:
    """The time as HTTP wants it (RFC 9110, 5.6.7); made once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True))
    return _date[1]


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; `data` is not empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def reason(status: int) -> str:
    """The words of a status."""
    return _REASONS.get(status, "Error")
