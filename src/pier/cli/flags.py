"""Command-line flags from a table, with the grammar and the error texts of Go's pflag, which Docker's users know.

A flag is (long name, short name or "", kind, help text). Kinds: bool; int, int64, uint, uint16 (numbers); string,
duration, bytes, decimal and other words (one value); list, strings (comma-separated too), map, filter and the names in
REPEATED (collected into a list). A command's PARSERS change the value of one flag, and may refuse it by ValueError.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Flag = tuple[str, str, str, str]

REPEATED = frozenset(["list", "strings", "map", "filter", "ulimit", "mount", "gpu-request", "network", "stringToString"])
NUMBERS = {"int": 64, "int64": 64, "uint": -64, "uint16": -16}
_TRUE = frozenset(["1", "t", "T", "true", "TRUE", "True"])
_FALSE = frozenset(["0", "f", "F", "false", "FALSE", "False"])


class FlagError(Exception):
    """A flag that the command does not have, or a value that the flag does not take."""


class HelpWanted(Exception):
    """--help was given; `deprecated` where it was by -h."""

    def __init__(self, deprecated: bool = False) -> None:
        self.deprecated = deprecated
        super().__init__()


class NotYet(Exception):
    """A flag of Docker's whose feature comes later."""


class Options:
    """The values of a command's flags, defaults included, and which of them were given."""

    __slots__ = ("given", "values")

    def __init__(self, values: "dict[str, Any]", given: "set[str]") -> None:
        self.values = values
        self.given = given

    def flag(self, name: str) -> bool:
        """A bool flag."""
        return bool(self.values[name])

    def text(self, name: str) -> str:
        """A flag with one value."""
        return str(self.values[name])

    def many(self, name: str) -> "list[Any]":
        """A flag that may be given more than once."""
        return list(self.values[name])

    def number(self, name: str) -> int:
        """A flag with a number."""
        return int(self.values[name])


def go_quote(text: str) -> str:
    """Go's %q of a string."""
    out = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    if not out.isprintable():
        out = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" if ord(char) < 128 else f"\\u{ord(char):04x}" for char in out)
    return f'"{out}"'


def parse_number(text: str, bits: int, function: str = "") -> int:
    """A number as strconv.ParseInt (or ParseUint where `bits` is negative) reads it with base 0. Raises ValueError with Go's text."""
    function = function or ("ParseInt" if bits > 0 else "ParseUint")
    body = text[1:] if text[:1] in ("+", "-") and bits > 0 else text
    try:
        if not body or not body[0].isdigit() or not body.isascii():
            raise ValueError
        base = {"0x": 16, "0o": 8, "0b": 2}.get(body[:2].lower(), 8 if body[0] == "0" and len(body) > 1 else 10)
        value = int(body[2:] if base in (16, 2) or body[:2].lower() == "0o" else body, base)
    except ValueError:
        raise ValueError(f"strconv.{function}: parsing {go_quote(text)}: invalid syntax") from None
    value = -value if text[:1] == "-" else value
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if bits > 0 else (0, (1 << -bits) - 1)
    if not low <= value <= high:
        raise ValueError(f"strconv.{function}: parsing {go_quote(text)}: value out of range")
    return value


def parse_bool(text: str) -> bool:
    """A bool as strconv.ParseBool reads it. Raises ValueError with Go's text."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"strconv.ParseBool: parsing {go_quote(text)}: invalid syntax")


def default_of(kind: str) -> "Any":
    """The value of a flag that was not given."""
    if kind == "bool":
        return False
    if kind in NUMBERS:
        return 0
    return [] if kind in REPEATED else ""


def parse(
    args: list[str],
    flags: "tuple[Flag, ...]",
    *,
    interspersed: bool = True,
    defaults: "Mapping[str, Any] | None" = None,
    parsers: "Mapping[str, Callable[[str], Any]] | None" = None,
    later: "frozenset[str]" = frozenset(),
    hidden: "Mapping[str, str] | None" = None,
) -> tuple[Options, list[str]]:
    """Split `args` into options and the rest; flags end at `--`, and at the first other word unless `interspersed`.

    `hidden`: other long names of flags that no help page lists.

    Raises FlagError with pflag's text, HelpWanted, and NotYet for a flag that is in `later`.
    """
    reader = _Reader(flags, defaults or {}, parsers or {}, later, hidden or {})
    rest: list[str] = []
    position = 0
    while position < len(args):
        word = args[position]
        position += 1
        if len(word) < 2 or word[0] != "-":
            if not interspersed:
                rest.extend(args[position - 1 :])
                break
            rest.append(word)
        elif word == "--":
            rest.extend(args[position:])
            break
        elif word[1] == "-":
            position = reader.long(word, args, position)
        else:
            position = reader.short(word, args, position)
    return Options(reader.values, reader.given), rest


class _Reader:
    def __init__(
        self,
        flags: "tuple[Flag, ...]",
        defaults: "Mapping[str, Any]",
        parsers: "Mapping[str, Callable[[str], Any]]",
        later: "frozenset[str]",
        hidden: "Mapping[str, str]",
    ) -> None:
        self.hidden = hidden
        self.kinds = {flag[0]: flag[2] for flag in flags}
        self.shorts = {flag[1]: flag[0] for flag in flags if flag[1]}
        self.values: dict[str, Any] = {name: default_of(kind) for name, kind in self.kinds.items()}
        self.values.update(defaults)
        self.parsers = parsers
        self.later = later
        self.given: set[str] = set()

    def long(self, word: str, args: list[str], position: int) -> int:
        name, equals, value = word[2:].partition("=")
        if not name or name[0] in "-=":
            raise FlagError(f"bad flag syntax: {word}")
        name = self.hidden.get(name, name)
        if name not in self.kinds:
            if name == "help":
                raise HelpWanted
            raise FlagError(f"unknown flag: --{name}")
        if not equals:
            if self.kinds[name] == "bool":
                value = "true"
            elif position < len(args):
                value = args[position]
                position += 1
            else:
                raise FlagError(f"flag needs an argument: --{name}")
        self.set(name, value)
        return position

    def short(self, word: str, args: list[str], position: int) -> int:
        letters = word[1:]
        while letters:
            shown = f"-{letters}"
            letter, letters = letters[0], letters[1:]
            name = self.shorts.get(letter)
            if name is None:
                if letter == "h":
                    raise HelpWanted(deprecated=True)
                raise FlagError(f"unknown shorthand flag: {letter!r} in {shown}")
            if letters[:1] == "=" and (len(letters) > 1 or self.kinds[name] != "bool"):
                self.set(name, letters[1:])
                return position
            if self.kinds[name] == "bool":
                self.set(name, "true")
            elif letters:
                self.set(name, letters)
                return position
            elif position < len(args):
                self.set(name, args[position])
                return position + 1
            else:
                raise FlagError(f"flag needs an argument: {letter!r} in {shown}")
        return position

    def set(self, name: str, text: str) -> None:
        kind = self.kinds[name]
        if name in self.later:
            raise NotYet(f"--{name}")
        try:
            if kind == "bool":
                value: Any = parse_bool(text)
            elif kind in NUMBERS and name not in self.parsers:
                value = parse_number(text, NUMBERS[kind])
            else:
                value = self.parsers[name](text) if name in self.parsers else text
        except ValueError as error:
            letter = next((short for short, long in self.shorts.items() if long == name), "")
            shown = f"-{letter}, --{name}" if letter else f"--{name}"
            raise FlagError(f"invalid argument {go_quote(text)} for {go_quote(shown)} flag: {error}") from None
        if kind in REPEATED:
            items = value.split(",") if kind == "strings" and isinstance(value, str) else [value]
            self.values[name] = [*self.values[name], *items] if name in self.given else items
        else:
            self.values[name] = value
        self.given.add(name)
