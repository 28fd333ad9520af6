"""The worker's operation `squash`: layers on top of each other become one that shows the same. Nothing is mounted or unpacked for it.

squash  [tar of each layer, the bottom one first..., ingest folder], kind, whole -> diff_id, size, tar_bytes, dir, warnings

whole: there is nothing below the first layer (stack.stacked). A tar that is no file is kept in one without a name meanwhile.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pier.archive.chunks import READ_BYTES, FileChunks, Piece, write_all
from pier.archive.erofs import walk
from pier.archive.layerwriter import archive, zeros
from pier.archive.limits import DEFAULT
from pier.archive.onelayer import take_one
from pier.archive.pace import Pace, Say
from pier.archive.refusal import shown
from pier.archive.stack import stacked
from pier.archive.tarstream import TarReader
from pier.archive.tarwriter import BLOCK_DEVICE, CHAR, FIFO, FILE, FOLDER, HARD_LINK, LINK, Member
from pier.archive.tree import BLOCK_DEVICE as BLOCK_NODE
from pier.archive.tree import CHAR as CHAR_NODE
from pier.archive.tree import FIFO as FIFO_NODE
from pier.archive.tree import FILE as FILE_NODE
from pier.archive.tree import FOLDER as FOLDER_NODE
from pier.archive.tree import LINK as LINK_NODE
from pier.archive.tree import OPAQUE, Inode, Tree

_KINDS = {FILE_NODE: FILE, LINK_NODE: LINK, CHAR_NODE: CHAR, BLOCK_NODE: BLOCK_DEVICE, FOLDER_NODE: FOLDER, FIFO_NODE: FIFO}


def squash(fields: dict[str, Any], fds: list[int], say: Say) -> dict[str, Any]:
    """The operation. Raises BadArchive, OSError."""
    *given_fds, ingest_fd = fds
    pace = Pace(say)
    tar_fds = seekable(given_fds, ingest_fd, pace)
    root = stacked((tree.root for tree in trees(tar_fds, pace)), bool(fields["whole"]))
    pieces = archive(members(root, tar_fds, pace))
    return take_one(ingest_fd, fields.get("kind", "erofs"), lambda: next(pieces, b""), pace)


def seekable(fds: Sequence[int], folder_fd: int, pace: Pace) -> list[int]:
    """A file for each tar: the one that was given, or one without a name in the folder that what comes out of a pipe is written to."""
    found = []
    for fd in fds:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            copy_fd = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=folder_fd)
            while data := os.read(fd, READ_BYTES):
                write_all(copy_fd, data)
                pace.read(len(data))
            fd = copy_fd
        os.lseek(fd, 0, os.SEEK_SET)
        found.append(fd)
    return found


def trees(tar_fds: Sequence[int], pace: Pace) -> Iterator[Tree]:
    """What each tar adds up to. Payloads are passed over without being read. Raises BadArchive."""
    for number, fd in enumerate(tar_fds):
        tree = Tree(DEFAULT, number)
        reader = TarReader(FileChunks(fd), DEFAULT)
        while entry := reader.next():
            tree.add(entry)
            pace.at(shown(entry.name))
        yield tree


def members(root: Inode, tar_fds: Sequence[int], pace: Pace) -> Iterator[tuple[Member, Iterable[Piece]]]:
    """The tree as a layer's tar holds it, sorted; payloads come from the tars that they are in."""
    first: dict[int, bytes] = {}  # of each file with several names
    for path, inode in walk(root):
        pace.at(shown(path))
        head, slash, name = path.rpartition(b"/")
        if inode.is_whiteout:
            yield Member(head + slash + b".wh." + name, mode=0o600), ()
        elif id(inode) in first:
            yield _member(path, inode, HARD_LINK, first[id(inode)]), ()
        else:
            if inode.kind != FOLDER_NODE and inode.nlink > 1:
                first[id(inode)] = path
            yield _member(path, inode, _KINDS[inode.kind], inode.target), content(inode, tar_fds, pace)
            if OPAQUE in (inode.xattrs or {}):
                yield Member(path + b"/.wh..wh..opq", mode=0o600), ()


def _member(path: bytes, inode: Inode, kind: str, link: bytes) -> Member:
    is_device = inode.kind in (CHAR_NODE, BLOCK_NODE)
    return Member(
        path + (b"/" if kind == FOLDER else b""),
        size=inode.size if kind == FILE else 0,
        kind=kind,
        mode=inode.mode,
        uid=inode.uid,
        gid=inode.gid,
        mtime=inode.mtime,
        mtime_ns=inode.mtime_ns,
        link=link,
        major=inode.rdev >> 8 & 0xFFF if is_device else 0,
        minor=(inode.rdev & 0xFF) | (inode.rdev >> 12 & 0xFFF00) if is_device else 0,
        xattrs={} if kind == HARD_LINK else {key: value for key, value in (inode.xattrs or {}).items() if key != OPAQUE},
    )


def content(inode: Inode, tar_fds: Sequence[int], pace: Pace) -> Iterator[Piece]:
    """What a file holds, its holes as ZEROS. Raises EOFError where the tar is shorter than it was."""
    if inode.kind != FILE_NODE:
        return
    at, offset, fd = 0, inode.offset, tar_fds[inode.tar]
    for start, length in inode.sparse if inode.sparse is not None else [(0, inode.size)]:
        yield from zeros(start - at)
        at = start + length
        while length:
            piece = os.pread(fd, min(READ_BYTES, length), offset)
            if not piece:
                raise EOFError("the tar of a layer is shorter than it was")
            pace.read(len(piece))
            yield piece
            offset, length = offset + len(piece), length - len(piece)
    yield from zeros(inode.size - at)
