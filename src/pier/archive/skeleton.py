"""What turns unpacked files back into the very tar they came from, bit by bit, so that its digest is the diff ID again.

The skeleton holds everything of the tar but the payloads of files that the unpacked folder has: headers, padding,
entries that a later one replaced. A gzip stream of records, after the line PIER-SKELETON-1:

    L  u32 n, n bytes            literal bytes
    F  u32 n, n bytes, u64 o, u64 k   k bytes at offset o of the file named by the n bytes
"""

import os
import struct
import zlib
from collections.abc import Iterator

from pier.archive.chunks import READ_BYTES, Chunks, from_fd, write_all
from pier.archive.erofs import walk
from pier.archive.refusal import BadArchive, shown
from pier.archive.tree import FILE, Tree

_MAGIC = b"PIER-SKELETON-1\n"
_LENGTH, _PIECE = struct.Struct("<I"), struct.Struct("<QQ")
_LITERAL_BYTES = 64 << 10
_NAME_BYTES = 65536
_PARENT_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def write_skeleton(tree: Tree, tar_fd: int, tar_bytes: int, out_fd: int) -> None:
    """Write the skeleton of a tar and the tree that it adds up to. Raises OSError."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)

    def emit(data: bytes) -> None:
        if packed := packer.compress(data):
            write_all(out_fd, packed)

    emit(_MAGIC)
    at = 0
    for start, length, offset, path in sorted(_pieces(tree)):
        _literal(emit, tar_fd, at, start)
        emit(b"F" + _LENGTH.pack(len(path)) + path + _PIECE.pack(offset, length))
        at = start + length
    _literal(emit, tar_fd, at, tar_bytes)
    write_all(out_fd, packer.flush())


def _pieces(tree: Tree) -> Iterator[tuple[int, int, int, bytes]]:
    """(place in the tar, length, place in the file, path) of every payload that the unpacked files have."""
    seen = set()
    for path, inode in walk(tree.root):
        if inode.kind != FILE or not inode.size or id(inode) in seen:
            continue
        if inode.nlink > 1:
            seen.add(id(inode))
        at = inode.offset
        for offset, length in inode.sparse if inode.sparse is not None else [(0, inode.size)]:
            yield at, length, offset, path
            at += length


def _literal(emit: "object", tar_fd: int, start: int, stop: int) -> None:
    while start < stop:
        data = os.pread(tar_fd, min(_LITERAL_BYTES, stop - start), start)
        if not data:
            raise EOFError("the tar is shorter than it was")
        emit(b"L" + _LENGTH.pack(len(data)) + data)  # type: ignore[operator]
        start += len(data)


def read_tar(skeleton_fd: int, files_fd: int) -> Iterator[bytes]:
    """The tar again, in pieces. Raises BadArchive when the skeleton or a file is damaged or missing."""
    packed, unpacker = from_fd(skeleton_fd), zlib.decompressobj(31)

    def pull() -> bytes:
        while not unpacker.eof:
            data = unpacker.unconsumed_tail or bytes(packed())
            if not data:
                raise BadArchive("", "the skeleton of the layer is cut short")
            try:
                if out := unpacker.decompress(data, READ_BYTES):
                    return out
            except zlib.error as error:
                raise BadArchive("", f"the skeleton of the layer is damaged: {error}") from None
        return b""

    source = Chunks(pull)
    if source.take(len(_MAGIC)) != _MAGIC:
        raise BadArchive("", "the skeleton of the layer is not of a known version")
    while kind := source.take(1):
        (length,) = _LENGTH.unpack(_exactly(source, _LENGTH.size))
        if length > _NAME_BYTES:
            raise BadArchive("", "the skeleton of the layer is damaged")
        data = _exactly(source, length)
        if kind == b"L":
            yield data
        elif kind == b"F":
            yield from _file(files_fd, data, *_PIECE.unpack(_exactly(source, _PIECE.size)))
        else:
            raise BadArchive("", "the skeleton of the layer is damaged")


def _exactly(source: Chunks, count: int) -> bytes:
    data = source.take(count)
    if len(data) != count:
        raise BadArchive("", "the skeleton of the layer is cut short")
    return data


def _file(files_fd: int, path: bytes, offset: int, length: int) -> Iterator[bytes]:
    folder = os.dup(files_fd)
    try:
        *parents, name = path.split(b"/")
        for part in parents:
            below = os.open(part, _PARENT_FLAGS, dir_fd=folder)
            os.close(folder)
            folder = below
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        raise BadArchive(shown(path), f"a file of the layer cannot be read: {error.strerror}") from None
    finally:
        os.close(folder)
    try:
        while length:
            data = os.pread(fd, min(length, READ_BYTES), offset)
            if not data:
                raise BadArchive(shown(path), "a file of the layer is shorter than it was")
            yield data
            offset, length = offset + len(data), length - len(data)
    finally:
        os.close(fd)
