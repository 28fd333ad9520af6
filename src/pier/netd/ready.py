"""Answers of one container as they go out, by the bytes of the question: most questions are asked again, and then nothing has to be read or decided.

A question's first two bytes are its number, everything behind them decides the answer (name with its case, type, EDNS), together with the tables.
So an entry is good for as long as the tables stand, and, of an answer from outside, until a lifetime in it is a second less.
"""

import time
from collections.abc import Sequence

MOST_ENTRIES = 64  # of one container, who chooses the questions: at most some 100 kB
MOST_QUESTION_BYTES = 320  # a name of 255 bytes, its type and EDNS
MOST_WAYS = 8
FOREVER = float("inf")


class Ready:
    """Not thread-safe; time is monotonic seconds."""

    def __init__(self) -> None:
        self._entries: dict[bytes, tuple[float, Sequence[bytes]]] = {}
        self._version = 0
        self._turn = 0

    def find(self, data: bytes, version: int) -> bytes:
        """The answer to a packet, under its number; b"" where it has to be made. version: of the tables; with another one nothing is known."""
        if version != self._version:
            self._entries.clear()
            self._version = version
            return b""
        entry = self._entries.get(data[2:])
        if entry is None:
            return b""
        until_s, ways = entry
        if until_s != FOREVER and time.monotonic() >= until_s:
            return b""
        if len(ways) == 1:
            return data[:2] + ways[0]
        self._turn += 1
        return data[:2] + ways[self._turn % len(ways)]

    def keep(self, data: bytes, answers: Sequence[bytes], until_s: float = FOREVER) -> None:
        """Remember what is said to a packet; of several answers another one is given each time. Too long or too many: made anew each time."""
        if len(data) > MOST_QUESTION_BYTES or len(answers) > MOST_WAYS:
            return
        if len(self._entries) >= MOST_ENTRIES:
            self._entries.clear()
        self._entries[data[2:]] = until_s, tuple(answer[2:] for answer in answers)
