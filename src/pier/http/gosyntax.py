"""What Go's JSON scanner says of broken JSON. Called only for what the real parser refused; pure.

Source: encoding/json/scanner.go, whose texts Docker's engine passes on and clients print.
"""

import re

_SPACE = b" \t\r\n"
_STRING = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{4})*')
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_LITERALS = {b"t": b"true", b"f": b"false", b"n": b"null"}


class _Bad(Exception):
    pass


def complaint(data: bytes) -> str:
    """The reason of the first fault; empty where Go would find none (in what comes after the first value, for instance)."""
    try:
        _scan(data)
    except _Bad as reason:
        return str(reason)
    return ""


def _scan(data: bytes) -> None:
    stack: list[int] = []
    at, expect = 0, "value"
    while True:
        while at < len(data) and data[at] in _SPACE:
            at += 1
        if at >= len(data):
            raise _Bad("unexpected EOF")
        char = data[at : at + 1]
        if expect == "colon":
            if char != b":":
                raise _bad(data, at, "after object key")
            at, expect = at + 1, "value"
        elif expect in ("key", "key or end") and not (expect == "key or end" and char == b"}"):
            if char != b'"':
                raise _bad(data, at, "looking for beginning of object key string")
            at, expect = _string(data, at), "colon"
        elif char in b"}]" and expect in ("key or end", "value or end", "comma") and stack and stack[-1] == char[0]:
            stack.pop()
            at, expect = at + 1, "comma"
        elif expect == "comma":
            if char != b",":
                raise _bad(data, at, "after object key:value pair" if stack[-1] == ord("}") else "after array element")
            at, expect = at + 1, "key" if stack[-1] == ord("}") else "value"
        elif char in (b"{", b"["):
            stack.append(ord("}") if char == b"{" else ord("]"))
            at, expect = at + 1, "key or end" if char == b"{" else "value or end"
        else:
            at, expect = _scalar(data, at), "comma"
        if expect == "comma" and not stack:
            return


def _scalar(data: bytes, at: int) -> int:
    char = data[at : at + 1]
    if char == b'"':
        return _string(data, at)
    if word := _LITERALS.get(char):
        for offset, expected in enumerate(word):
            if at + offset >= len(data):
                raise _Bad("unexpected EOF")
            if data[at + offset] != expected:
                raise _bad(data, at + offset, f"in literal {word.decode()} (expecting '{chr(expected)}')")
        return at + len(word)
    if char.isdigit() or char == b"-":
        return _number(data, at)
    raise _bad(data, at, "looking for beginning of value")


def _string(data: bytes, at: int) -> int:
    end = _STRING.match(data, at).end()  # type: ignore[union-attr]  # the quote is there
    if end >= len(data):
        raise _Bad("unexpected EOF")
    if data[end : end + 1] == b'"':
        return end + 1
    if data[end : end + 1] != b"\\":
        raise _bad(data, end, "in string literal")
    if end + 1 >= len(data):
        raise _Bad("unexpected EOF")
    if data[end + 1 : end + 2] != b"u":
        raise _bad(data, end + 1, "in string escape code")
    place = next((i for i in range(end + 2, end + 6) if data[i : i + 1] not in (*(b"%c" % c for c in b"0123456789abcdefABCDEF"),)), end + 6)
    if place >= len(data):
        raise _Bad("unexpected EOF")
    raise _bad(data, place, "in \\u hexadecimal character escape")


def _number(data: bytes, at: int) -> int:
    found = _NUMBER.match(data, at)
    end = found.end() if found else at + 1
    rest = data[end : end + 2]
    if found is None:
        where, place = "in numeric literal", end
    elif rest[:1] == b"." and b"." not in found.group() and b"e" not in found.group().lower():
        where, place = "after decimal point in numeric literal", end + 1
    elif rest[:1] in (b"e", b"E") and b"e" not in found.group().lower():
        place = end + (2 if rest[1:] in (b"+", b"-") else 1)
        where = "in exponent of numeric literal"
    else:
        return end
    if place >= len(data):
        raise _Bad("unexpected EOF")
    raise _bad(data, place, where)


def _bad(data: bytes, at: int, where: str) -> _Bad:
    char = data[at : at + 1].decode("latin-1")
    shown = {"'": r"\'", "\n": r"\n", "\t": r"\t", "\r": r"\r"}.get(char, char if char.isprintable() else f"\\x{ord(char):02x}")
    return _Bad(f"invalid character '{shown}' {where}")
