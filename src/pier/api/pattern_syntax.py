"""The syntax of patterns.py: a text into a tree. ValueError is what Go would refuse, Invalid what is Go's but not known here."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from pier.errors import Invalid

_MAX_DEPTH = 100
_MAX_REPEAT = 1000  # Go's own limit of a count
_SIMPLE = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_DIGIT, _SPACE = (("0", "9"),), (("\t", "\n"), ("\f", "\r"), (" ", " "))
_WORD = (("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z"))
_PERL = {"d": _DIGIT, "s": _SPACE, "w": _WORD}
_NAMED = {
    "alnum": (("0", "9"), ("A", "Z"), ("a", "z")), "alpha": (("A", "Z"), ("a", "z")), "ascii": (("\x00", "\x7f"),),
    "blank": (("\t", "\t"), (" ", " ")), "cntrl": (("\x00", "\x1f"), ("\x7f", "\x7f")), "digit": _DIGIT, "graph": (("!", "~"),),
    "lower": (("a", "z"),), "print": ((" ", "~"),), "punct": (("!", "/"), (":", "@"), ("[", "`"), ("{", "~")),
    "space": (("\t", "\r"), (" ", " ")), "upper": (("A", "Z"),), "word": _WORD, "xdigit": (("0", "9"), ("A", "F"), ("a", "f")),
}  # fmt: skip
_CAPTURE = re.compile(r"P?<[0-9A-Za-z_]+>")
_POSIX = re.compile(r"\[:(\^?)([^:\]]*):\]")
Ranges = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Char:
    """One character that passes a test."""

    test: Callable[[str], bool]


@dataclass(frozen=True)
class Assertion:
    """A place: `^`, `$`, `b` (a border of a word), `B` (none)."""

    kind: str


@dataclass(frozen=True)
class Sequence:
    """One after another."""

    nodes: "tuple[Node, ...]"


@dataclass(frozen=True)
class Choice:
    """One of them."""

    nodes: "tuple[Node, ...]"


@dataclass(frozen=True)
class Repeat:
    """So many times; most None: any number."""

    inner: "Node"
    least: int
    most: int | None


Node = Char | Assertion | Sequence | Choice | Repeat


def is_word(char: str) -> bool:
    """Whether a character is one of `\\w`."""
    return _within(_WORD, char)


def parse(text: str) -> Node:
    """The tree of a pattern."""
    parser = _Parser(text)
    node = parser.choice(0)
    if parser.at < len(text):
        raise ValueError("unexpected )")
    return node


def _within(ranges: Ranges, char: str) -> bool:
    return any(low <= char <= high for low, high in ranges)


def _char(ranges: Ranges, *, negated: bool = False, fold: bool = False) -> Char:
    def test(char: str) -> bool:
        forms = (char, char.lower(), char.upper()) if fold else (char,)
        return any(_within(ranges, form) for form in forms) != negated

    return Char(test)


class _Parser:
    """Recursive descent; `at` is the next character."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.fold = self.dot_all = False  # the flags i and s; of `m` and `U` nothing depends: texts are one line, and only yes or no is told

    def peek(self, length: int = 1) -> str:
        return self.text[self.at : self.at + length]

    def take(self) -> str:
        if self.at >= len(self.text):
            raise ValueError("the pattern ends too early")
        self.at += 1
        return self.text[self.at - 1]

    def choice(self, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise ValueError("groups too deep in each other")
        branches = [self.sequence(depth)]
        while self.peek() == "|":
            self.at += 1
            branches.append(self.sequence(depth))
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def sequence(self, depth: int) -> Node:
        nodes: list[Node] = []
        while self.peek() not in ("", "|", ")"):
            if self.bounds() is not None:
                raise ValueError("missing argument to repetition operator")
            nodes += self.atom(depth)
            nodes[-1:] = [self.repeated(node) for node in nodes[-1:]]
        return Sequence(tuple(nodes))

    def repeated(self, node: Node) -> Node:
        times = 0
        while (bounds := self.bounds()) is not None:
            times += 1
            if times > 1:
                raise ValueError("invalid nested repetition operator")
            if self.peek() == "?":
                self.at += 1
            node = Repeat(node, *bounds)
        return node

    def bounds(self) -> tuple[int, int | None] | None:
        char = self.peek()
        if char and char in "*+?":
            self.at += 1
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        end = self.text.find("}", self.at)
        if char != "{" or end < 0:
            return None
        low, comma, high = self.text[self.at + 1 : end].partition(",")
        if not _is_number(low) or (high and not _is_number(high)):
            return None  # a brace that is one
        self.at = end + 1
        least = int(low)
        most = (int(high) if high else None) if comma else least
        if least > _MAX_REPEAT or (most is not None and (most > _MAX_REPEAT or most < least)):
            raise ValueError("invalid repeat count")
        return least, most

    def atom(self, depth: int) -> list[Node]:
        """The next thing that can be repeated; after `\\Q` it is the last of several, flags are none."""
        char = self.take()
        match char:
            case "(":
                return self.group(depth)
            case "[":
                return [self.bracket()]
            case ".":
                return [_char((("\n", "\n"),), negated=True) if not self.dot_all else _char((("\x00", "\U0010ffff"),))]
            case "^" | "$":
                return [Assertion(char)]
            case "\\":
                return self.escaped()
            case _:
                return [_char(((char, char),), fold=self.fold)]

    def group(self, depth: int) -> list[Node]:
        before = self.fold, self.dot_all
        if self.peek() == "?":
            self.at += 1
            if found := _CAPTURE.match(self.text, self.at):
                self.at = found.end()
            elif not self.flags():
                return []
        node = self.choice(depth + 1)
        if self.peek() != ")":
            raise ValueError("missing closing )")
        self.at += 1
        self.fold, self.dot_all = before
        return [node]

    def flags(self) -> bool:
        """`(?i-s)` (to the end of the group that it stands in) and `(?i:`: returns whether a group follows."""
        value = True
        while True:
            match self.take():
                case "i":
                    self.fold = value
                case "s":
                    self.dot_all = value
                case "m" | "U":
                    continue
                case "-" if value:
                    value = False
                case ")":
                    return False
                case ":":
                    return True
                case _:
                    raise ValueError("invalid or unsupported Perl syntax")

    def escaped(self) -> list[Node]:
        char = self.take()
        if char in "AbBz":
            return [Assertion({"A": "^", "z": "$"}.get(char, char))]
        if char.lower() in _PERL:
            return [_char(_PERL[char.lower()], negated=char.isupper())]
        if char == "Q":
            literal, _, _ = self.text[self.at :].partition("\\E")
            self.at = min(len(self.text), self.at + len(literal) + 2)
            return [_char(((one, one),), fold=self.fold) for one in literal]
        if char == "C":
            return [_char((("\x00", "\U0010ffff"),))]
        one = self.escaped_char(char)
        return [_char(((one, one),), fold=self.fold)]

    def escaped_char(self, char: str) -> str:
        if char in "pP":
            raise Invalid(f"the pattern {self.text!r}: \\{char} (classes of Unicode) is not supported: name the characters")
        if char in _SIMPLE:
            return _SIMPLE[char]
        if char == "x":
            return self.hexadecimal()
        if char in "01234567":
            digits = char
            while len(digits) < 3 and self.peek() and self.peek() in "01234567":
                digits += self.take()
            if char != "0" and len(digits) == 1:
                raise ValueError("invalid escape sequence")
            return chr(int(digits, 8))
        if char.isascii() and not char.isalnum():
            return char
        raise ValueError("invalid escape sequence")

    def hexadecimal(self) -> str:
        if self.peek() == "{":
            digits, closed, _ = self.text[self.at + 1 :].partition("}")
            self.at += len(digits) + 2
        else:
            digits, closed = self.peek(2), "}" * (len(self.peek(2)) == 2)
            self.at += 2
        if not closed or not digits or len(digits) > 6 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
            raise ValueError("invalid escape sequence")
        if int(digits, 16) > 0x10FFFF:
            raise ValueError("invalid escape sequence")
        return chr(int(digits, 16))

    def bracket(self) -> Node:
        negated = self.peek() == "^"
        self.at += negated
        ranges: list[tuple[str, str]] = []
        excluded: list[Ranges] = []
        first = True
        while first or self.peek() != "]":
            first = False
            if (named := self.named_class()) is not None:
                members, inverted = named
                if inverted:
                    excluded.append(members)
                else:
                    ranges.extend(members)
                continue
            low = high = self.bracket_char()
            if self.peek() == "-" and self.peek(2)[1:] not in ("", "]"):
                self.at += 1
                high = self.bracket_char()
            if high < low:
                raise ValueError("invalid character class range")
            ranges.append((low, high))
        self.at += 1
        return self._class(tuple(ranges), excluded, negated=negated)

    def named_class(self) -> tuple[Ranges, bool] | None:
        """`[:alpha:]`, `[:^alpha:]`, `\\d`, `\\D`: its members, and whether it is all but them; None where something else stands."""
        if found := _POSIX.match(self.text, self.at):
            self.at = found.end()
            if found[2] not in _NAMED:
                raise ValueError("invalid character class range")
            return _NAMED[found[2]], bool(found[1])
        escaped = self.peek(2)
        if len(escaped) == 2 and escaped[0] == "\\" and escaped[1].lower() in _PERL:
            self.at += 2
            return _PERL[escaped[1].lower()], escaped[1].isupper()
        return None

    def _class(self, ranges: Ranges, excluded: list[Ranges], *, negated: bool) -> Node:
        plain = _char(ranges, fold=self.fold).test
        return Char(lambda char: (plain(char) or any(not _within(one, char) for one in excluded)) != negated)

    def bracket_char(self) -> str:
        char = self.take()
        return self.escaped_char(self.take()) if char == "\\" else char


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
