"""Requests that leave no question, read in one go: a head in the strictest form, and a body that is there already. Pure.

Nearly every request of Docker's clients is one. Whatever is not, in the smallest thing (a header that comes twice, a fold, a
transfer coding, an unusual byte, a head that is not whole), is None here, and h11's to read or to refuse: two parsers cannot
disagree about what only one of them takes. Source: RFC 9112.
"""

import re
from typing import NamedTuple

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_HEAD = re.compile(rb"([A-Z]{3,10}) (/[\x21-\x7e]*) HTTP/1\.1\r\n((?:" + _TOKEN + rb":[\t\x20-\x7e]*\r\n)+)\r\n")
_LENGTH = re.compile(r"[0-9]{1,9}")
_QUESTIONS = ("transfer-encoding", "expect", "te", "trailer")


class Plain(NamedTuple):
    """A whole request: header names are in lower case, `rest` is what came behind it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    rest: bytes


def read(data: bytes, most: int) -> Plain | None:
    """The request that `data` begins with, None where it is not plain. `most`: bytes that a head may have."""
    found = _HEAD.match(data)
    if found is None or found.end() > most:
        return None
    headers: dict[str, str] = {}
    for line in found[3].decode("ascii").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name = name.lower()
        if name in headers:
            return None
        headers[name] = value.strip(" \t")
    length = headers.get("content-length", "0")
    if "host" not in headers or not _LENGTH.fullmatch(length) or any(name in headers for name in _QUESTIONS):
        return None
    end = found.end() + int(length)
    if len(data) < end:
        return None
    return Plain(found[1].decode("ascii"), found[2].decode("ascii"), headers, data[found.end() : end], data[end:])
