"""Answers from outside, kept as long as they say themselves. Not thread-safe; time is given by who asks (monotonic seconds)."""

from collections import OrderedDict
from typing import NamedTuple

from pier.netd import message
from pier.netd.message import Malformed, Question

MOST_ENTRIES = 4096
MOST_BYTES = 16 << 20  # of all of them: who asks chooses what is kept
MOST_ENTRY_BYTES = 16 << 10
MOST_S = 24 * 3600
Key = tuple[str, int, int, bool, bool, bool, tuple[str, ...]]


class Kept(NamedTuple):
    """An answer under its question's number, and until when (monotonic seconds) it is the same, byte for byte."""

    packet: bytes
    until_s: float


class Cache:
    """Least recently used entries go first. What different servers said is kept apart."""

    def __init__(self, most: int = MOST_ENTRIES) -> None:
        self._most, self._bytes = most, 0
        self._entries: OrderedDict[Key, tuple[float, float, bytes]] = OrderedDict()  # kept at, until, packet

    def get(self, question: Question, servers: tuple[str, ...], now_s: float) -> Kept | None:
        """The answer under the question's number, its lifetimes aged; None where there is none any more."""
        key = _key(question, servers)
        entry = self._entries.get(key)
        if entry is None:
            return None
        kept_s, until_s, packet = entry
        if now_s >= until_s:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        age_s = int(now_s - kept_s)
        return Kept(message.renumbered(message.aged(packet, age_s), question.number), min(until_s, kept_s + age_s + 1))

    def put(self, question: Question, servers: tuple[str, ...], answer: bytes, now_s: float) -> None:
        """Keep an answer that fits the question, if it may be kept."""
        try:
            life_s = min(message.lifetime_s(answer), MOST_S)
        except Malformed:
            return
        if life_s <= 0 or len(answer) > MOST_ENTRY_BYTES:
            return
        key = _key(question, servers)
        self._drop(key)
        self._entries[key] = (now_s, now_s + life_s, answer)
        self._bytes += len(answer)
        while len(self._entries) > self._most or self._bytes > MOST_BYTES:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= len(entry[2])

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._entries)


def _key(question: Question, servers: tuple[str, ...]) -> Key:
    return question.name, question.kind, question.klass, question.edns, question.dnssec, bool(question.flags & message.CD), servers
