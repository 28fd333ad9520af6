"""The worker's operations on volumes: their files as a tar, a tar as their files, and copies of them.

volume_export  [files (a read-only mount of its own), output, an empty folder], form? ("gzip"|"zstd")  -> size: bytes that were written
volume_import  [input, the volume's folder], kind "unpacked", limits?                                  -> size, warnings
volume_copy    [files (a read-only mount of its own), a folder], kind "unpacked"                       -> entries

What is made lies in `fs` of the folder, and is durable when the answer comes. Nothing in a volume is a whiteout: names mean themselves.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

from isal import isal_zlib

from pier.archive import unpack
from pier.archive.changes import members
from pier.archive.chunks import Chunks, Piece, write_all
from pier.archive.compress import Form, form_of
from pier.archive.layer import Budget, Sink, sync_filesystem
from pier.archive.layerwriter import archive
from pier.archive.limits import Limits
from pier.archive.pace import Pace, Say
from pier.archive.refusal import BadArchive, shown
from pier.archive.tarstream import TarReader
from pier.archive.tree import Tree
from pier.linux import treecopy

Fields = dict[str, Any]
FILES = "fs"
_TAR = "tar"
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def export_files(fields: Fields, fds: list[int], say: Say) -> Fields:
    """The operation `volume_export`. Raises BadArchive for what no tar can carry, OSError."""
    files_fd, out_fd, _ = fds
    pieces = archive(members(files_fd, (), Pace(say), plain=True))
    form = fields.get("form")
    size = 0
    for piece in _compressed(pieces, form_of(form)) if form else pieces:
        write_all(out_fd, piece)
        size += len(piece)
    return {"size": size}


def _compressed(pieces: Iterator[Piece], form: Form) -> Iterator[bytes]:
    yield form.head
    gathered, crc, size = bytearray(), 0, 0
    for piece in pieces:
        gathered += piece
        crc, size = isal_zlib.crc32(piece, crc), size + len(piece)
        while len(gathered) >= form.block_bytes:
            yield form.block(bytes(gathered[: form.block_bytes]))
            del gathered[: form.block_bytes]
    if gathered:
        yield form.block(bytes(gathered))
    yield form.tail(crc, size)


def import_files(source: Callable[[], Piece], folder_fd: int, limits: Limits, pace: Pace) -> Fields:
    """The operation `volume_import`; source: the expanded tar. Raises BadArchive, OSError."""
    tar_fd = os.open(_TAR, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder_fd)
    try:
        tree = _read(source, tar_fd, Budget(folder_fd, limits), limits, pace)
        files_fd = _make(folder_fd)
        try:
            unpack.write_files(tree, tar_fd, files_fd)
        finally:
            os.close(files_fd)
        os.unlink(_TAR, dir_fd=folder_fd)
        pace.state("syncing")
        sync_filesystem(folder_fd)
    finally:
        os.close(tar_fd)
    left_out = [f"attribute {shown(name)} of {count} files was left out" for name, count in sorted(tree.dropped.items())[:20]]
    return {"size": tree.files_bytes, "warnings": left_out}


def _read(source: Callable[[], Piece], tar_fd: int, budget: Budget, limits: Limits, pace: Pace) -> Tree:
    """The tar goes to the disk while it is read; what it adds up to is known before the first file is made."""
    tree, sink = Tree(limits, plain=True), Sink(tar_fd, budget)

    def tee() -> Piece:
        if piece := source():
            sink.put(piece)
        return piece

    chunks = Chunks(tee)
    reader = TarReader(chunks, limits)
    try:
        while entry := reader.next():
            tree.add(entry)
            pace.at(shown(entry.name))
        chunks.drain()
    finally:
        sink.finish()
    return tree


def copy_files(fields: Fields, fds: list[int], say: Say) -> Fields:
    """The operation `volume_copy`. Raises BadArchive for what lies too deep, OSError."""
    files_fd, folder_fd = fds
    pace = Pace(say)
    made_fd = _make(folder_fd)
    source_fd = os.open(".", _FOLDER_FLAGS, dir_fd=files_fd)
    try:
        count = treecopy.copy_folder(source_fd, made_fd, "", lambda path: pace.at(path))
    except RecursionError:
        raise BadArchive("", "folders are too deep in each other") from None
    finally:
        os.close(made_fd)
        os.close(source_fd)
    pace.state("syncing")
    sync_filesystem(folder_fd)
    return {"entries": count}


def _make(folder_fd: int) -> int:
    os.mkdir(FILES, 0o755, dir_fd=folder_fd)
    fd = os.open(FILES, _FOLDER_FLAGS, dir_fd=folder_fd)
    os.fchmod(fd, 0o755)
    return fd
