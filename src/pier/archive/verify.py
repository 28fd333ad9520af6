"""The worker's operation `verify`: whether a layer on the disk still is what it was when it was taken in.

verify  [tar, index or unpacked files, ingest folder], kind, diff_id -> diff_id (what the tar has now), problem ("" where there is none),
        index ("" or, where only the index is wrong, the name of the right one in the ingest folder, durable)
"""

import errno
import os
import stat
from typing import Any

from pier.archive import erofs
from pier.archive.chunks import READ_BYTES, Chunks, Piece, from_fd
from pier.archive.layer import INDEX, Budget, Sink
from pier.archive.limits import DEFAULT
from pier.archive.pace import Pace, Say
from pier.archive.refusal import BadArchive, shown
from pier.archive.tarstream import TarReader
from pier.archive.tree import BLOCK_DEVICE, CHAR, FIFO, FILE, FOLDER, LINK, Inode, Tree
from pier.archive.upper import Found, walk

_KINDS = {FILE: stat.S_IFREG, FOLDER: stat.S_IFDIR, CHAR: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO, LINK: stat.S_IFLNK}


def verify(fields: dict[str, Any], fds: list[int], say: Say) -> dict[str, Any]:
    """The operation. Raises OSError where the disk cannot be read."""
    tar_fd, other_fd, ingest_fd = fds
    pace = Pace(say)
    tree, digest, tar_bytes = _read(tar_fd, ingest_fd, pace)
    answer = {"diff_id": digest, "problem": "", "index": ""}
    if digest != fields["diff_id"]:
        answer["problem"] = f"its tar has the digest {digest}"
    elif tree is None:
        answer["problem"] = "its tar cannot be read any more"
    elif fields["kind"] == "unpacked":
        answer["problem"] = files_differ(tree, other_fd, pace)
    elif not _index_is(tree, tar_fd, tar_bytes, other_fd, ingest_fd, digest):
        answer |= {"problem": "its index is not the one of its tar", "index": INDEX}
    return answer


def _read(tar_fd: int, ingest_fd: int, pace: Pace) -> tuple[Tree | None, str, int]:
    """(what the entries add up to, None where they do not; digest; size)."""
    sink, source, tree = Sink(-1, Budget(ingest_fd, DEFAULT)), from_fd(tar_fd), Tree()

    def tee() -> Piece:
        piece = source()
        if piece:
            sink.put(piece)
            pace.read(len(piece))
        return piece

    chunks = Chunks(tee)
    reader, found = TarReader(chunks, DEFAULT), True
    try:
        while entry := reader.next():
            tree.add(entry)
    except BadArchive:
        found = False
    finally:
        chunks.drain()
        digest = sink.finish()
    return tree if found else None, digest, sink.size


def _index_is(tree: Tree, tar_fd: int, tar_bytes: int, index_fd: int, ingest_fd: int, digest: str) -> bool:
    """Whether the index is the tree's; the right one stays in the ingest folder where it is not."""
    fd = os.open(INDEX, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=ingest_fd)
    try:
        size = erofs.write_index(tree, fd, tar_fd, tar_bytes, erofs.uuid_of(digest))
        if os.fstat(index_fd).st_size == size and _same(index_fd, fd, size):
            os.unlink(INDEX, dir_fd=ingest_fd)
            return True
        os.fsync(fd)
        os.fsync(ingest_fd)
        return False
    finally:
        os.close(fd)


def _same(one_fd: int, other_fd: int, size: int) -> bool:
    """Whether two files of `size` bytes hold the same; where both have a hole nothing is read."""
    at = 0
    while at < size:
        at = min(_next_data(one_fd, at, size), _next_data(other_fd, at, size))
        count = min(READ_BYTES, size - at)
        if os.pread(one_fd, count, at) != os.pread(other_fd, count, at):
            return False
        at += count
    return True


def _next_data(fd: int, at: int, size: int) -> int:
    try:
        return os.lseek(fd, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return size


def files_differ(tree: Tree, files_fd: int, pace: Pace) -> str:
    """What unpacked files have that the tree does not say, or the other way round: the first difference; "" where there is none.

    Contents are left to the tar's digest, which they are part of.
    """
    wanted = dict(erofs.walk(tree.root))
    for found in walk(files_fd):
        pace.at(shown(found.path))
        inode = wanted.pop(found.path, None)
        if inode is None:
            return f"{shown(found.path)} is there and should not be"
        if difference := _difference(inode, found):
            return f"{shown(found.path)}: {difference}"
    return f"{shown(min(wanted))} is missing" if wanted else ""


def _difference(inode: Inode, found: Found) -> str:
    info = found.info
    if stat.S_IFMT(info.st_mode) != _KINDS[inode.kind]:
        return "it is of another type"
    if (info.st_uid, info.st_gid) != (inode.uid, inode.gid):
        return f"its owner is {info.st_uid}:{info.st_gid}, not {inode.uid}:{inode.gid}"
    if inode.kind == LINK:
        target = os.readlink(os.fsencode(found.name), dir_fd=found.fd)
        return "" if target == inode.target else "it leads elsewhere"
    if stat.S_IMODE(info.st_mode) != inode.mode:
        return f"its mode is {stat.S_IMODE(info.st_mode):04o}, not {inode.mode:04o}"
    if info.st_mtime_ns != inode.mtime * 1_000_000_000 + inode.mtime_ns:
        return "its time is another"
    if inode.kind in (CHAR, BLOCK_DEVICE):
        device = os.makedev(inode.rdev >> 8 & 0xFFF, (inode.rdev & 0xFF) | (inode.rdev >> 12 & 0xFFF00))
        return "" if info.st_rdev == device else "it is another device"
    if inode.kind == FILE and info.st_size != inode.size:
        return f"it has {info.st_size} bytes, not {inode.size}"
    return _attributes_differ(inode, found) if inode.kind in (FILE, FOLDER) else ""


def _attributes_differ(inode: Inode, found: Found) -> str:
    fd = found.fd
    if inode.kind == FILE:
        fd = os.open(found.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=found.fd)
    try:
        there = {os.fsencode(key): os.getxattr(fd, key) for key in os.listxattr(fd) if key != "security.selinux"}
    finally:
        if fd != found.fd:
            os.close(fd)
    return "" if there == (inode.xattrs or {}) else "its attributes are others"
