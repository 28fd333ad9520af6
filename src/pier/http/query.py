"""The query part of a request target, read with the rules and error texts of Docker's API."""

import re
from urllib.parse import parse_qsl

import msgspec

from pier.errors import Internal, Invalid

_FALSE = ("", "0", "no", "false", "none")
_INT = re.compile(r"[+-]?[0-9]+\Z")
_MOST_DIGITS = 100
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}")


class Query:
    """The parameters of one request; a name may come more than once, the first value counts."""

    def __init__(self, text: str) -> None:
        """Parse what stands behind the `?`. Raises Invalid for a wrong percent escape, as Go's net/url does."""
        if bad := _ESCAPE.search(text):
            raise Invalid(f'invalid URL escape "{bad.group()}"')
        self._values: dict[str, list[str]] = {}
        for name, value in parse_qsl(text, keep_blank_values=True):
            self._values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def get(self, name: str, default: str = "") -> str:
        """The first value of a parameter, `default` where it is missing."""
        values = self._values.get(name)
        return values[0] if values else default

    def get_all(self, name: str) -> list[str]:
        """All values of a parameter, in order."""
        return self._values.get(name, [])

    def bool_(self, name: str, default: bool = False) -> bool:
        """A flag: everything but nothing, 0, no, false and none is true, whatever the case (Docker's BoolValue)."""
        values = self._values.get(name)
        return default if not values else values[0].strip().lower() not in _FALSE

    def int_(self, name: str, default: int | None = None, *, parser: str = "Atoi") -> int | None:
        """A number, `default` where the parameter is missing or empty.

        Raises Internal (Docker answers 500) with the text of Go's strconv; `parser` is the function it names.
        """
        value = self.get(name)
        if not value:
            return default
        if not _INT.match(value):
            raise Internal(f'strconv.{parser}: parsing "{value}": invalid syntax')
        number = int(value) if len(value) < _MOST_DIGITS else 1 << 63
        if not -(1 << 63) <= number < 1 << 63:
            raise Internal(f'strconv.{parser}: parsing "{value}": value out of range')
        return number

    def filters(self, name: str = "filters") -> dict[str, list[str]]:
        """The `filters` parameter, in both forms that clients send: {"a":["b"]} and {"a":{"b":true}}.

        Raises Invalid `invalid filter`. Which names are known is the noun's own business.
        """
        text = self.get(name)
        if not text:
            return {}
        try:
            return {key: list(values) for key, values in msgspec.json.decode(text, type=dict[str, dict[str, bool]]).items()}
        except msgspec.MsgspecError:
            pass
        try:
            return msgspec.json.decode(text, type=dict[str, list[str]])
        except msgspec.MsgspecError:
            raise Invalid("invalid filter") from None
