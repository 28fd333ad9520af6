"""The local driver's format: what was read, as it was read, between a head and a tail. Pure.

    head   12 bytes, little endian: u32 length of the payload + (stream << 28), i64 wall-clock time in ns
    payload
    tail    4 bytes: the head's first word again, so that a file can be walked backwards

stream: 1 stdout, 2 stderr, 0 a note of Pier's own (payload: text). A frame holds at most MAX_PAYLOAD bytes; a line may go
over several frames, and a frame may hold many lines. A torn frame at the end, after a crash, is what `last_whole` finds.
"""

import struct
from collections.abc import Callable, Iterator

MAX_PAYLOAD = 1 << 20
OVERHEAD = 16
_HEAD = struct.Struct("<Iq")
_WORD = struct.Struct("<I")
_LENGTH = (1 << 28) - 1
_INVERT = 0xFFFFFFFF
STDOUT, STDERR, NOTE = 1, 2, 0

Frame = tuple[int, int, bytes]
"""(stream, time_ns, payload)."""


def head(stream: int, time_ns: int, length: int) -> bytes:
    return _HEAD.pack(length | stream << 28, time_ns)


def tail(stream: int, length: int) -> bytes:
    return _WORD.pack((length | stream << 28) ^ _INVERT)


def encode(stream: int, time_ns: int, payload: bytes) -> bytes:
    """A whole frame."""
    return head(stream, time_ns, len(payload)) + payload + tail(stream, len(payload))


def split(word: int) -> tuple[int, int]:
    """(stream, length) of a head's word. Raises ValueError for what no writer writes."""
    stream, length = word >> 28, word & _LENGTH
    if stream > 2 or not 0 < length <= MAX_PAYLOAD:
        raise ValueError("no frame of a log")
    return stream, length


def decode(data: bytes, start: int = 0) -> Iterator[tuple[int, Frame]]:
    """The whole frames of `data` from `start`, each with the offset behind it; stops before a torn or damaged one."""
    view, size = memoryview(data), len(data)
    while start + OVERHEAD <= size:
        word, time_ns = _HEAD.unpack_from(data, start)
        try:
            stream, length = split(word)
        except ValueError:
            return
        end = start + OVERHEAD + length
        if end > size or _WORD.unpack_from(data, end - 4)[0] != word ^ _INVERT:
            return
        yield end, (stream, time_ns, bytes(view[start + 12 : end - 4]))
        start = end


def frame_before(data: bytes, end: int) -> int:
    """The offset at which the frame that ends at `end` begins, going by its tail; -1 where it begins before `data` or is damaged."""
    if end < OVERHEAD:
        return -1
    word = _WORD.unpack_from(data, end - 4)[0] ^ _INVERT
    try:
        _, length = split(word)
    except ValueError:
        return -1
    start = end - OVERHEAD - length
    return start if start >= 0 and _HEAD.unpack_from(data, start)[0] == word else -1


def last_whole(fd_read: Callable[[int, int], bytes], size: int) -> int:
    """The offset behind the last whole frame of a file of `size` bytes: `size` itself where nothing is torn.

    `fd_read(length, offset)` reads as os.pread does.
    """
    if size == 0:
        return 0
    window = min(size, MAX_PAYLOAD + OVERHEAD)
    if frame_before(fd_read(window, size - window), window) >= 0:
        return size
    at = 0
    while at + OVERHEAD <= size:  # torn: walk from the start by the heads alone
        block = fd_read(12, at)
        try:
            stream, length = split(_HEAD.unpack(block)[0])
        except (ValueError, struct.error):
            return at
        end = at + OVERHEAD + length
        if end > size or fd_read(4, end - 4) != tail(stream, length):
            return at
        at = end
    return at
