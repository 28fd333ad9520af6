"""The functions that a template may call: Go's own and those that Docker adds. Each raises CallError with Go's text."""

from pier.cli.goformat.values import Map, go_text, is_true, kind_name, sprintf, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class CallError(Exception):
    """A function refused its arguments; `argument` is the index of the one that was of the wrong type, else None."""

    def __init__(self, text: str, argument: "int | None" = None) -> None:
        self.argument = argument
        super().__init__(text)


def _index(value: "Any", *keys: "Any") -> "Any":
    for key in keys:
        if isinstance(value, (list, tuple, str)):
            if isinstance(key, bool) or not isinstance(key, int):
                raise CallError(f"cannot index slice/array with type {kind_name(key)}")
            if not 0 <= key < len(value):
                raise CallError(f"index out of range: {key}")
            value = ord(value[key]) if isinstance(value, str) else value[key]
        elif isinstance(value, dict):
            if not isinstance(key, str):
                raise CallError(f"value has type {kind_name(key)}; should be string")
            # in a map of texts Go gives its zero, the empty text
            texts = isinstance(value, Map) and all(isinstance(item, str) for item in value.values())
            value = value.get(key, "" if texts else None)
        elif value is None:
            raise CallError("index of untyped nil")
        else:
            raise CallError(f"can't index item of type {kind_name(value)}")
    return value


def _length(value: "Any") -> int:
    if value is None:
        raise CallError("len of nil pointer")
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, (list, tuple, dict)):
        return len(value)
    raise CallError(f"len of type {kind_name(value)}")


def _slice(value: "Any", *bounds: "Any") -> "Any":
    if not isinstance(value, (str, list, tuple)):
        raise CallError(f"can't slice item of type {kind_name(value)}")
    ends = [bound for bound in bounds if isinstance(bound, int)]
    if len(ends) != len(bounds) or len(ends) > 3:
        raise CallError("cannot index slice/array with a value that is no integer")
    low = ends[0] if ends else 0
    high = ends[1] if len(ends) > 1 else len(value)
    for bound in (low, high):
        if not 0 <= bound <= len(value):
            raise CallError(f"index out of range: {bound}")
    if low > high:
        raise CallError(f"invalid slice index: {low} > {high}")
    return value[low:high]


def _basic(value: "Any") -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float64"
    return "string" if isinstance(value, str) else ""


def _equal(first: "Any", *others: "Any") -> bool:
    if not others:
        raise CallError("missing argument for comparison")
    for other in others:
        kinds = _basic(first), _basic(other)
        if first is None or other is None:
            if first is other:
                return True
            continue
        if not all(kinds):
            raise CallError(f"non-comparable type {go_text(first if not kinds[0] else other)}: {kind_name(first if not kinds[0] else other)}")
        if kinds[0] != kinds[1]:
            raise CallError(f"incompatible types for comparison: {kinds[0]} and {kinds[1]}")
        if first == other:
            return True
    return False


def _less(first: "Any", second: "Any") -> bool:
    kinds = _basic(first), _basic(second)
    if not all(kinds) or "bool" in kinds:
        raise CallError("invalid type for comparison")
    if kinds[0] != kinds[1]:
        raise CallError(f"incompatible types for comparison: {kinds[0]} and {kinds[1]}")
    return bool(first < second)


def _print(*values: "Any") -> str:
    out = ""
    for at, value in enumerate(values):
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            out += " "
        out += go_text(value)
    return out


def _need(value: "Any", kind: type, name: str, at: int) -> "Any":
    if value is None and kind is list:
        return []
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise CallError(f"wrong type for value; expected {name}; got {kind_name(value)}", at)
    return value


def _split(text: "Any", separator: "Any") -> "list[str]":
    text, separator = _need(text, str, "string", 0), _need(separator, str, "string", 1)
    return text.split(separator) if separator else list(text)


def _join(items: "Any", separator: "Any") -> str:
    items = _need(items, list, "[]string", 0)
    return str(_need(separator, str, "string", 1)).join(str(_need(item, str, "string", 0)) for item in items)


def _title(text: "Any") -> str:
    text = _need(text, str, "string", 0)
    out = ""
    for at, char in enumerate(text):
        out += char.upper() if not at or not (text[at - 1].isalnum() or text[at - 1] in "_'") else char
    return out


def _pad(text: "Any", before: "Any", after: "Any") -> str:
    text = _need(text, str, "string", 0)
    return " " * _need(before, int, "int", 1) + text + " " * _need(after, int, "int", 2) if text else ""


def _truncate(text: "Any", length: "Any") -> str:
    return str(_need(text, str, "string", 0)[: _need(length, int, "int", 1)])


def _html(*values: "Any") -> str:
    text = _print(*values)
    for char, entity in (("&", "&amp;"), ("'", "&#39;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;")):
        text = text.replace(char, entity)
    return text


def _js(*values: "Any") -> str:
    text = _print(*values)
    for char, shown in (("\\", "\\\\"), ("'", "\\'"), ('"', '\\"'), ("<", "\\u003C"), (">", "\\u003E"), ("&", "\\u0026"), ("=", "\\u003D")):
        text = text.replace(char, shown)
    return "".join(char if ord(char) >= 32 else f"\\u{ord(char):04X}" for char in text)


def _urlquery(*values: "Any") -> str:
    from pier.client.wire import quote

    return quote(_print(*values), " ").replace(" ", "+")


def _text(function: "Callable[[str], str]") -> "Callable[[Any], str]":
    def call(value: "Any") -> str:
        return function(_need(value, str, "string", 0))

    return call


# name: (function, least arguments, most arguments or -1)
FUNCTIONS: "dict[str, tuple[Callable[..., Any] | None, int, int]]" = {
    "and": (None, 1, -1),
    "or": (None, 1, -1),
    "not": (lambda value: not is_true(value), 1, 1),
    "len": (_length, 1, 1),
    "index": (_index, 1, -1),
    "slice": (_slice, 1, 4),
    "print": (_print, 0, -1),
    "printf": (lambda layout, *values: sprintf(_need(layout, str, "string", 0), values), 1, -1),
    "println": (lambda *values: " ".join(go_text(value) for value in values) + "\n", 0, -1),
    "html": (_html, 0, -1),
    "js": (_js, 0, -1),
    "urlquery": (_urlquery, 0, -1),
    "eq": (_equal, 1, -1),
    "ne": (lambda first, second: not _equal(first, second), 2, 2),
    "lt": (_less, 2, 2),
    "le": (lambda first, second: _less(first, second) or _equal(first, second), 2, 2),
    "gt": (lambda first, second: not (_less(first, second) or _equal(first, second)), 2, 2),
    "ge": (lambda first, second: not _less(first, second), 2, 2),
    "json": (to_json, 1, 1),
    "split": (_split, 2, 2),
    "join": (_join, 2, 2),
    "title": (_title, 1, 1),
    "lower": (_text(str.lower), 1, 1),
    "upper": (_text(str.upper), 1, 1),
    "pad": (_pad, 3, 3),
    "truncate": (_truncate, 2, 2),
}
# in the header of a table these leave the title as it is
HEADER_PASS = frozenset(["json", "split", "join", "title", "lower", "upper", "truncate"])
