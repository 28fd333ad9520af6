"""Reading a file while somebody else still fills it: a download that is decompressed as it comes.

A pipe tells how far the file may be read: 8-byte little-endian counts, each the number of bytes that are there from the beginning on. The
last one that came holds. The pipe's end before the whole size was told means that the rest will not come.
"""

import os
from collections.abc import Callable

from pier.archive.chunks import READ_BYTES

COUNT_BYTES = 8
_PIPE_READ_BYTES = 512 * COUNT_BYTES


class Abandoned(Exception):
    """The rest of the file will not come: whoever fills it gave up, and says why."""


def follow(file_fd: int, pipe_fd: int, size_bytes: int, waiting: Callable[[], None]) -> Callable[[], bytes]:
    """A source (see chunks.Chunks) of a file of `size_bytes` that grows.

    waiting: called before each read of the pipe, which may block for long. The source raises Abandoned, and ValueError where the pipe tells
    what cannot be.
    """
    at = there = 0
    rest = b""

    def pull() -> bytes:
        nonlocal at, there, rest
        while at >= there and at < size_bytes:
            waiting()
            told = os.read(pipe_fd, _PIPE_READ_BYTES)
            if not told:
                raise Abandoned(f"{there} of {size_bytes} bytes came")
            rest += told
            whole = len(rest) // COUNT_BYTES * COUNT_BYTES
            if whole:
                there = int.from_bytes(rest[whole - COUNT_BYTES : whole], "little")
                rest = rest[whole:]
                if not at <= there <= size_bytes:
                    raise ValueError(f"a file of {size_bytes} bytes cannot have {there} of them after {at}")
        data = os.pread(file_fd, min(READ_BYTES, there - at), at)
        if at < there and not data:
            raise ValueError(f"the file has only {at} of the {there} bytes that were told")
        at += len(data)
        return data

    return pull
