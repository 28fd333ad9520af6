"""JSON for a process that must start in milliseconds: the standard library's C scanner without its `re` front.

`json` costs 6 ms at import because its Python half compiles patterns; the C half alone costs nothing.
"""

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WHITESPACE = " \t\n\r"
_CONSTANTS = {"-Infinity": float("-inf"), "Infinity": float("inf"), "NaN": float("nan")}


class _Settings:
    """What the C scanner wants to find on its context object."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = _CONSTANTS.__getitem__
    memo: "dict[str, str]" = {}  # noqa: RUF012


_scan = _json.make_scanner(_Settings())  # type: ignore[arg-type, call-arg, unused-ignore]


def decode_next(text: str, start: int = 0) -> "tuple[Any, int]":
    """The JSON value that begins at or after `start`, and the index behind it and its white space.

    Raises ValueError for anything that is no JSON value; IndexError never, an empty text is a ValueError too.
    """
    end = len(text)
    while start < end and text[start] in _WHITESPACE:
        start += 1
    try:
        value, start = _scan(text, start)
    except StopIteration:
        if start >= end:
            raise ValueError("unexpected end of JSON input") from None
        raise ValueError(f"invalid character {text[start]!r} looking for beginning of value") from None
    except SystemError:  # the C half has no way to say what is wrong while nobody imported `json`
        raise ValueError("the JSON is cut off or malformed") from None
    while start < end and text[start] in _WHITESPACE:
        start += 1
    return value, start


def decode(data: "bytes | str") -> "Any":
    """The one JSON value of `data`. Raises ValueError."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    value, end = decode_next(text)
    if end != len(text):
        raise ValueError(f"invalid character {text[end]!r} after top-level value")
    return value


def quote(text: str, html: bool = True) -> str:
    """A JSON string as Go's encoding/json writes it: UTF-8 left alone, and <, >, & escaped where `html`."""
    text = _json.encode_basestring(text)
    if html and ("<" in text or ">" in text or "&" in text):
        text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    if "\u2028" in text or "\u2029" in text:
        text = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return text


def number(value: float) -> str:
    """A float as Go's encoding/json writes it: shortest form, exponent from 1e21 and below 1e-6."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    if "e" not in text:
        return text
    mantissa, _, exponent = text.partition("e")
    if -6 <= int(exponent) < 0:
        return f"{value:.{len(mantissa.replace('.', '').lstrip('-')) - 1 - int(exponent)}f}"
    sign = exponent[0] if exponent[0] in "+-" else "+"
    return f"{mantissa}e{sign}{exponent.lstrip('+-').lstrip('0').rjust(2, '0') if sign == '+' else str(int(exponent[1:]))}"


def encode(value: "Any", html: bool = True) -> str:
    """Compact JSON, keys in their order, as Go's json.Marshal writes what has this shape."""
    if isinstance(value, str):
        return quote(value, html)
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        return "{" + ",".join([f"{quote(str(key), html)}:{encode(item, html)}" for key, item in value.items()]) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([encode(item, html) for item in value]) + "]"
    raise TypeError(f"no JSON for {type(value).__name__}")


def indent(text: str, step: str = "    ", prefix: str = "") -> str:
    """The same JSON with line breaks and indentation, every scalar left as it was written (Go's json.Indent)."""
    out: list[str] = []
    depth = 0
    position = 0
    end = len(text)
    while position < end:
        char = text[position]
        if char == '"':
            close = position + 1
            while True:
                close = text.index('"', close)
                backslashes = 0
                while text[close - 1 - backslashes] == "\\":
                    backslashes += 1
                close += 1
                if not backslashes % 2:
                    break
            out.append(text[position:close])
            position = close
            continue
        position += 1
        if char in "{[":
            while position < end and text[position] in _WHITESPACE:
                position += 1
            if position < end and text[position] in "}]":
                out.append(char + text[position])
                position += 1
            else:
                depth += 1
                out.append(char + "\n" + prefix + step * depth)
        elif char in "}]":
            depth -= 1
            out.append("\n" + prefix + step * depth + char)
        elif char == ",":
            out.append(",\n" + prefix + step * depth)
        elif char == ":":
            out.append(": ")
        elif char not in _WHITESPACE:
            out.append(char)
    return "".join(out)
