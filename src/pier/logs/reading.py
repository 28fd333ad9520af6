"""Reading the files of a log, without waiting for anything: forward from an offset, and backward to where a tail begins."""

import calendar
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pier.logs import framing
from pier.logs.writer import PARTIAL_BYTES

BLOCK_BYTES = framing.MAX_PAYLOAD + framing.OVERHEAD
_STREAMS = {"stdout": framing.STDOUT, "stderr": framing.STDERR}
_NEWLINE = 10
_decode = json.JSONDecoder().decode


class Entry(NamedTuple):
    """A piece of a log: `stream` 1 stdout, 2 stderr; wall-clock time; `data` with its newline, if it has one."""

    stream: int
    time_ns: int
    data: bytes


class Step(NamedTuple):
    """What one block gave: the offset to go on from, and its records."""

    offset: int
    records: list[Entry]


class Format(NamedTuple):
    """How a driver's files are read. `forward(fd, offset, end)`: one block; the same offset back means nothing whole is there.

    `tail(fd, end, lines, streams)`: (offset from which at least `lines` lines follow, or 0; how many do).
    """

    forward: Callable[[int, int, int], Step]
    tail: Callable[[int, int, int, frozenset[int]], tuple[int, int]]


class Lines:
    """Puts the records of each stream together to lines, each with the time of its beginning; 16 KiB without a newline are enough."""

    def __init__(self) -> None:
        self._open: dict[int, Entry] = {}

    def feed(self, record: Entry) -> Iterator[Entry]:
        stream, time_ns, data = record
        held = self._open.pop(stream, None)
        for piece in _split(data):
            if held is not None:
                whole, held = Entry(stream, held.time_ns, held.data + piece), None
            else:
                whole = Entry(stream, time_ns, piece)
            if whole.data[-1] == _NEWLINE or len(whole.data) >= PARTIAL_BYTES:
                yield whole
            else:
                self._open[stream] = whole

    def rest(self) -> Iterator[Entry]:
        """The lines that never ended."""
        left, self._open = self._open, {}
        yield from sorted(left.values(), key=lambda entry: entry.time_ns)


def _split(data: bytes) -> list[bytes]:
    *whole, rest = data.split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])


# --- local


def _local_forward(fd: int, offset: int, end: int) -> Step:
    block = os.pread(fd, min(BLOCK_BYTES, end - offset), offset)
    records, at = [], 0
    for behind, (stream, time_ns, payload) in framing.decode(block):
        records.append(Entry(stream or framing.STDERR, time_ns, payload))
        at = behind
    if not at and len(block) >= framing.OVERHEAD and (skipped := _damage(block)):
        text = f"pier: {skipped} damaged bytes of the log are left out here\n"
        return Step(offset + skipped, [Entry(framing.STDERR, records[-1].time_ns if records else 0, text.encode())])
    return Step(offset + at, records)


def _damage(block: bytes) -> int:
    """How many bytes at the beginning are no frame, 0 where they may be one that is still being written."""
    if _plausible(block, 0) is None:
        return 0
    for at in range(1, len(block) - framing.OVERHEAD):
        if _plausible(block, at) is True:
            return at
    return max(1, len(block) - framing.OVERHEAD)


def _plausible(block: bytes, at: int) -> bool | None:
    """Whether a whole frame begins here; None: its head is sound and its end is not there yet."""
    try:
        stream, length = framing.split(int.from_bytes(block[at : at + 4], "little"))
    except ValueError:
        return False
    end = at + framing.OVERHEAD + length
    if end > len(block):
        return None
    return block[end - 4 : end] == framing.tail(stream, length)


def _local_tail(fd: int, end: int, lines: int, streams: frozenset[int]) -> tuple[int, int]:
    found, seen = 0, set[int]()
    slack = len(streams)  # the first line of each stream may begin further back
    while end > 0:
        start = max(0, end - BLOCK_BYTES)
        block = os.pread(fd, end - start, start)
        at = len(block)
        while (before := framing.frame_before(block, at)) >= 0:
            word = int.from_bytes(block[before : before + 4], "little")
            stream = framing.split(word)[0] or framing.STDERR
            if stream in streams:
                found += block.count(b"\n", before + 12, at - 4)
                if stream not in seen:
                    seen.add(stream)
                    found += at - 4 > before + 12 and block[at - 5] != _NEWLINE
            at = before
            if found >= lines + slack:
                return start + at, found
        if at == len(block):
            return end, found  # damaged before here: the tail begins behind it
        end = start + at
    return 0, found


# --- json-file


def _json_forward(fd: int, offset: int, end: int) -> Step:
    block = os.pread(fd, min(BLOCK_BYTES, end - offset), offset)
    whole = block.rfind(b"\n") + 1
    records = []
    for line in block[:whole].split(b"\n")[:-1]:
        try:
            fields = _decode(line.decode())
            records.append(Entry(_STREAMS[fields["stream"]], parse_time(fields["time"]), fields["log"].encode("utf-8", "surrogatepass")))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # a damaged line: the ones around it are whole
    return Step(offset + whole, records)


def _json_tail(fd: int, end: int, lines: int, streams: frozenset[int]) -> tuple[int, int]:
    wanted = [f'"stream":"{name}"'.encode() for name, number in _STREAMS.items() if number in streams]
    found, rest = 0, b""
    while end > 0:
        start = max(0, end - 65536)
        block = os.pread(fd, end - start, start) + rest
        at = len(block)
        while (newline := block.rfind(b"\n", 0, at - 1)) >= 0:
            line = block[newline + 1 : at]
            if line.endswith(b"\n") and any(name in line[-100:] for name in wanted):
                found += 1
                if found == lines:
                    return start + newline + 1, found
            at = newline + 1
        rest, end = block[:at], start
    return 0, found + any(name in rest[-100:] for name in wanted)


FORMATS = {"local": Format(_local_forward, _local_tail), "json-file": Format(_json_forward, _json_tail)}


_second: tuple[str, int] = ("", 0)


def parse_time(text: str) -> int:
    """RFC 3339 in UTC with up to nine digits of a fraction -> ns since 1970. Raises ValueError."""
    global _second
    whole, _, fraction = text.removesuffix("Z").partition(".")
    if _second[0] != whole:  # strptime takes 8 us, and a busy log has thousands of lines a second
        _second = (whole, calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")))
    return _second[1] * 1_000_000_000 + int((fraction + "000000000")[:9])
