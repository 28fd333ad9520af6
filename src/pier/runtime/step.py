"""One step of a plan: a name that `pier.runtime.child` knows, and JSON-able arguments."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """A value; `str` is its one line."""

    name: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        words = [f"{key}={_short(value)}" for key, value in self.arguments.items()]
        return " ".join([self.name, *words])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:120]}... ({len(text)} characters)"
