"""What a registry asks for when it does not know who asks: the header WWW-Authenticate (RFC 9110, section 11). Pure; any text may come in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MAX_HEADER_CHARS = 16 * 1024
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_TOKEN68 = _TOKEN | frozenset("/=")


@dataclass(frozen=True)
class Challenge:
    """One way to authenticate: the scheme and the names of the parameters are in lower case. The first of two parameters of one name counts."""

    scheme: str
    parameters: Mapping[str, str]

    def get(self, name: str) -> str:
        """A parameter, "" where there is none."""
        return self.parameters.get(name, "")


def parse(values: Iterable[str]) -> tuple[Challenge, ...]:
    """The challenges of all WWW-Authenticate headers of an answer, in their order. What cannot be read is left out; nothing is raised."""
    found: list[Challenge] = []
    for value in values:
        found += _Reader(value[:MAX_HEADER_CHARS]).challenges()
    return tuple(found)


class _Reader:
    """A cursor over one header. challenge = scheme [ 1*SP ( token68 / #auth-param ) ]; a comma stands between parameters and between challenges."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def challenges(self) -> list[Challenge]:
        found: list[tuple[str, dict[str, str]]] = []
        while self._skip(" \t,"):
            word = self._take(_TOKEN)
            if not word:
                self._next_comma()
                continue
            self._skip(" \t")
            if found and self._peek() == "=" and self._is_parameter():
                self.at += 1
                value = self._value()
                if value is not None:
                    found[-1][1].setdefault(word.lower(), value)
                continue
            found.append((word.lower(), {}))
            self._token68()
        return [Challenge(scheme, parameters) for scheme, parameters in found]

    def _is_parameter(self) -> bool:
        """Whether the `=` under the cursor gives a name its value (and does not pad a token68)."""
        rest = self.text[self.at + 1 : self.at + 2]
        return rest != "="

    def _token68(self) -> None:
        """Step over credentials-like text that some schemes have instead of parameters (`Negotiate YIIB=`)."""
        start = self.at
        word = self._take(_TOKEN68)
        self._skip(" \t")
        if self._peek() not in ("", ",") or ("=" in word.rstrip("=")):
            self.at = start

    def _value(self) -> str | None:
        self._skip(" \t")
        if self._peek() != '"':
            return self._take(_TOKEN68 | frozenset(":?@[]"))  # unquoted URLs are seen in the field
        self.at += 1
        taken: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if char == '"':
                return "".join(taken)
            if char == "\\":
                char = self.text[self.at : self.at + 1]
                self.at += 1
            taken.append(char)
        return None  # it never ends: not a value

    def _skip(self, chars: str) -> bool:
        while self.at < len(self.text) and self.text[self.at] in chars:
            self.at += 1
        return self.at < len(self.text)

    def _take(self, chars: frozenset[str]) -> str:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] in chars:
            self.at += 1
        return self.text[start : self.at]

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _next_comma(self) -> None:
        comma = self.text.find(",", self.at)
        self.at = len(self.text) if comma < 0 else comma + 1
