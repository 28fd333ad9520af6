"""The filters of list and prune: which exist, what they mean, Docker's words for what is wrong with one. Pure."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pier.errors import Invalid
from pier.images.image import timestamp_ns
from pier.oci.reference import Reference

Filters = Mapping[str, Sequence[str]]
_TRUE, _FALSE = ("1", "true", "True"), ("0", "false", "False")
_UNIX_TIME = re.compile(r"-?[0-9]{1,19}(\.[0-9]+)?")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_UNIT_NS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_LOCAL_TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:\.\d+)?)?)?)?")


def check(filters: Filters, known: Collection[str]) -> None:
    """Raises Invalid for the first filter that is not known."""
    for name in filters:
        if name not in known:
            raise Invalid(f"invalid filter '{name}'")


def boolean(filters: Filters, name: str, default: bool) -> bool:
    """The value of a filter that is true or false. Raises Invalid."""
    values = filters.get(name, ())
    if not values:
        return default
    true, false = any(value in _TRUE for value in values), any(value in _FALSE for value in values)
    if true == false:
        shown = " ".join(values)
        raise Invalid(f"invalid filter '{name}=[{shown}]'")
    return true


def has_labels(wanted: Sequence[str], labels: Mapping[str, str]) -> bool:
    """Whether every `key` or `key=value` is among the labels."""
    for text in wanted:
        key, equals, value = text.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def lacks_labels(unwanted: Sequence[str], labels: Mapping[str, str]) -> bool:
    """The same for `label!=`: whether the labels do not match all of them (as Docker, which negates the whole)."""
    return not unwanted or not has_labels(unwanted, labels)


def until_ns(filters: Filters, now_ns: int) -> int | None:
    """The moment that `until` names, in ns since the epoch, the earliest of several; None without the filter. Raises Invalid."""
    return min((moment_ns(value, now_ns) for value in filters.get("until", ())), default=None)


def moment_ns(text: str, now_ns: int) -> int:
    """A Unix time (with decimals), an RFC 3339 time or the beginning of one, or a Go duration before now. Raises Invalid."""
    if _UNIX_TIME.fullmatch(text):
        seconds, _, decimals = text.partition(".")
        return int(seconds) * 10**9 + int((decimals or "0")[:9].ljust(9, "0"))
    if text.startswith(("-", "+")) or _DURATION.match(text):
        sign = -1 if text.startswith("-") else 1
        rest, total = text[text[0] in "+-" :], 0.0
        if rest and "".join(found[0] for found in _DURATION.finditer(rest)) == rest:
            total = sum(float(found[1]) * _UNIT_NS[found[2]] for found in _DURATION.finditer(rest))
            if total < 1 << 63:
                return now_ns - sign * int(total)
    if moment := timestamp_ns(text):
        return moment
    if found := _LOCAL_TIME.fullmatch(text.removesuffix("Z")):
        whole = f"{found[1]}T{found[2] or '00'}:{found[3] or '00'}:{found[4] or '00'}Z"
        if moment := timestamp_ns(whole):
            return moment
    raise Invalid(f'failed to parse value as time or duration: "{text}"')


def matches_reference(pattern: str, name: Reference) -> bool:
    """Whether a pattern fits a name as users see it, with its tag or without. Raises Invalid for a malformed pattern."""
    tokens = glob(pattern)
    return glob_matches(tokens, str(name)) or glob_matches(tokens, name.familiar_name)


@dataclass(frozen=True)
class Token:
    """One position of a pattern: any run of characters but `/`, or one character of some ranges (all but those where negated)."""

    star: bool = False
    ranges: tuple[tuple[str, str], ...] = ()
    negated: bool = False

    def takes(self, char: str) -> bool:
        """Whether it fits one character. As in Go, only stars and `?` stop at a slash."""
        return any(low <= char <= high for low, high in self.ranges) != self.negated


_STAR = Token(star=True)
_ANY = Token(ranges=(("/", "/"),), negated=True)


def glob(pattern: str) -> tuple[Token, ...]:
    """Go's path.Match: `*` and `?` stop at a slash; `[a-z]`, `[^a]`, `\\x`. Raises Invalid (`syntax error in pattern`)."""
    tokens: list[Token] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            tokens.append(_STAR)
        elif char == "?":
            tokens.append(_ANY)
        elif char == "[":
            token, at = _character_class(pattern, at + 1)
            tokens.append(token)
            continue
        else:
            if char == "\\":
                at += 1
                char = pattern[at : at + 1]
                if not char:
                    raise Invalid("syntax error in pattern")
            tokens.append(Token(ranges=((char, char),)))
        at += 1
    return tuple(tokens)


def glob_matches(tokens: Sequence[Token], text: str) -> bool:
    """Whether the whole text fits; time is length times tokens, whatever the pattern (no backtracking)."""
    states = _past_stars(tokens, {0})
    for char in text:
        following = {at for at in states if at < len(tokens) and tokens[at].star and char != "/"}
        following |= {at + 1 for at in states if at < len(tokens) and not tokens[at].star and tokens[at].takes(char)}
        states = _past_stars(tokens, following)
        if not states:
            return False
    return len(tokens) in states


def _past_stars(tokens: Sequence[Token], states: set[int]) -> set[int]:
    reached = set(states)
    for at in states:
        while at < len(tokens) and tokens[at].star:
            at += 1
            reached.add(at)
    return reached


def _character_class(pattern: str, at: int) -> tuple[Token, int]:
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and pattern[at : at + 1] == "]"):
        low, at = _class_character(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _class_character(pattern, at + 1)
        ranges.append((low, high))
    return Token(ranges=tuple(ranges), negated=negated), at + 1


def _class_character(pattern: str, at: int) -> tuple[str, int]:
    if pattern[at : at + 1] in ("", "-", "]"):
        raise Invalid("syntax error in pattern")
    at += pattern[at] == "\\"
    # A class that ends with the pattern is not closed.
    if at + 1 >= len(pattern):
        raise Invalid("syntax error in pattern")
    return pattern[at], at + 1
