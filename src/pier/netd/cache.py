"""Answers from outside, kept as long as they say themselves. Not thread-safe; time is given by who asks (monotonic seconds)."""

from collections import OrderedDict
from typing import NamedTuple

from pier.netd import message
from pier.netd.message import Malformed, Question

MOST_ENTRIES = 4096
MOST_S = 24 * 3600
Key = tuple[str, int, int, bool, bool, tuple[str, ...]]


class Kept(NamedTuple):
    """An answer under its question's number, and until when (monotonic seconds) it is the same, byte for byte."""

    packet: bytes
    until_s: float


class Cache:
    """Least recently used entries go first. What different servers said is kept apart."""

    def __init__(self, most: int = MOST_ENTRIES) -> None:
        self._most = most
        self._entries: OrderedDict[Key, tuple[float, float, bytes]] = OrderedDict()  # kept at, until, packet

    def get(self, question: Question, servers: tuple[str, ...], now_s: float) -> Kept | None:
        """The answer under the question's number, its lifetimes aged; None where there is none any more."""
        key = _key(question, servers)
        entry = self._entries.get(key)
        if entry is None:
            return None
        kept_s, until_s, packet = entry
        if now_s >= until_s:
            del self._entries[key]
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
        if life_s <= 0:
            return
        self._entries[_key(question, servers)] = (now_s, now_s + life_s, answer)
        self._entries.move_to_end(_key(question, servers))
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._entries)


def _key(question: Question, servers: tuple[str, ...]) -> Key:
    return question.name, question.kind, question.klass, question.edns, question.dnssec, servers
