"""Compressing a layer for a registry: blocks of a fixed size, each on its own, on several threads.

The same tar gives the same bytes whatever the number of threads: blocks are cut by size and know nothing of each other. gzip: one member
of one deflate stream, each block ended by a sync flush, so that every reader takes it for what any gzip would have made. zstd: a frame for
each block, which readers join (RFC 8878, 3). Both cost less than a thousandth of the size.
"""

import hashlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

from isal import isal_zlib

from pier.archive.chunks import write_all

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_QUEUED = 2  # blocks a thread: bounds memory
# No name, no time, "fastest", an unknown system: RFC 1952, 2.3.
_GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
_LAST_BLOCK = b"\x03\x00"  # an empty one, marked as the last of the stream


class Form(Protocol):
    """A compressed form: `head`, then each block by itself, then the tail."""

    block_bytes: int
    head: bytes

    def block(self, data: bytes, /) -> bytes:
        """One block; called on any thread."""
        ...

    def tail(self, crc: int, size: int, /) -> bytes:
        """What ends it: the CRC-32 and the number of the bytes that went in."""
        ...


class Gzip:
    """gzip by isal; level 0 to 3."""

    block_bytes = 1 << 20
    head = _GZIP_HEAD

    def __init__(self, level: int = 1) -> None:
        if not 0 <= level <= 3:
            raise ValueError(f"gzip has the levels 0 to 3 here, not {level}")
        self._level = level

    def block(self, data: bytes, /) -> bytes:
        packer = isal_zlib.compressobj(self._level, isal_zlib.DEFLATED, -15)
        return packer.compress(data) + packer.flush(isal_zlib.Z_SYNC_FLUSH)

    def tail(self, crc: int, size: int, /) -> bytes:
        return _LAST_BLOCK + crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")


class Zstd:
    """zstd; level 1 to 19."""

    block_bytes = 4 << 20
    head = b""

    def __init__(self, level: int = 3) -> None:
        if not 1 <= level <= 19:
            raise ValueError(f"zstd has the levels 1 to 19 here, not {level}")
        self._options: dict[int, int] = {zstd.CompressionParameter.compression_level: level, zstd.CompressionParameter.checksum_flag: 1}

    def block(self, data: bytes, /) -> bytes:
        return zstd.compress(data, options=self._options)

    def tail(self, crc: int, size: int, /) -> bytes:
        return b"" if size else zstd.compress(b"", options=self._options)


FORMS: dict[str, Callable[..., Form]] = {"gzip": Gzip, "zstd": Zstd}


@dataclass(frozen=True)
class Compressed:
    """What went in and came out: digest and bytes of the tar, bytes of the compressed form."""

    diff_id: str
    tar_bytes: int
    size: int


class _Block:
    """One block on its way through a thread."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.done = threading.Semaphore(0)
        self.error: Exception | None = None


def compress(tar_fd: int, out_fd: int, form: Form, threads: int, read: Callable[[int], None] = lambda count: None) -> Compressed:
    """Read a tar to its end (a file, or a pipe) and write its compressed form as it is made.

    read: is told of bytes as they are read. Raises OSError of either side.
    """
    queue: SimpleQueue[_Block | None] = SimpleQueue()
    workers = [threading.Thread(target=_work, args=(queue, form), daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    waiting: deque[_Block] = deque()
    found, crc, tar_bytes, size = hashlib.sha256(), 0, 0, len(form.head)
    try:
        write_all(out_fd, form.head)
        while data := _full(tar_fd, form.block_bytes):
            waiting.append(_Block(data))
            queue.put(waiting[-1])
            read(len(data))
            crc, tar_bytes = isal_zlib.crc32(data, crc), tar_bytes + len(data)
            found.update(data)
            if len(waiting) > threads * _QUEUED:
                size += _write(out_fd, waiting.popleft())
        while waiting:
            size += _write(out_fd, waiting.popleft())
        tail = form.tail(crc, tar_bytes)
        write_all(out_fd, tail)
    finally:
        for _ in workers:
            queue.put(None)
        for worker in workers:
            worker.join()
    return Compressed("sha256:" + found.hexdigest(), tar_bytes, size + len(tail))


def whole(data: bytes, form: Form) -> bytes:
    """The same bytes as `compress` writes, for a tar in memory."""
    blocks = [form.block(data[at : at + form.block_bytes]) for at in range(0, len(data), form.block_bytes)]
    return b"".join((form.head, *blocks, form.tail(isal_zlib.crc32(data), len(data))))


def _full(fd: int, size: int) -> bytes:
    """`size` bytes, fewer only at the end: where a block ends must not depend on how a pipe was filled."""
    data = os.read(fd, size)
    if len(data) in (0, size):
        return data
    parts, left = [data], size - len(data)
    while left and (data := os.read(fd, left)):
        parts.append(data)
        left -= len(data)
    return b"".join(parts)


def _work(queue: "SimpleQueue[_Block | None]", form: Form) -> None:
    while (block := queue.get()) is not None:
        try:
            block.data = form.block(block.data)
        except Exception as error:
            block.error = error
        block.done.release()


def _write(out_fd: int, block: _Block) -> int:
    block.done.acquire()
    if block.error:
        raise block.error
    write_all(out_fd, block.data)
    return len(block.data)


def form_of(name: str, level: int | None = None) -> Form:
    """The form called gzip or zstd; level None: the one for layers. Raises ValueError for another name or level."""
    if name not in FORMS:
        raise ValueError(f"there is no compression {name!r}")
    return FORMS[name]() if level is None else FORMS[name](level)
