"""The worker's operation `compare`: what the layers of one image show that those of another do not.

compare  [output, tar of each layer..., an empty folder], from, to (numbers of tars, the bottom one first) -> added, changed, removed

The list goes to the output, a file, as JSON objects with commas between, sorted by path: Path; Kind (0 changed, 1 added, 2 removed, as in a
container's changes); From, To: bytes of a file, null for what is none; What: in what a changed one differs. A time alone is no difference.
"""

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from pier.archive.chunks import READ_BYTES, write_all
from pier.archive.pace import Pace, Say
from pier.archive.refusal import shown
from pier.archive.squash import content, seekable, trees
from pier.archive.stack import stacked
from pier.archive.tree import BLOCK_DEVICE, CHAR, FILE, LINK, Inode

CHANGED, ADDED, REMOVED = 0, 1, 2
Difference = tuple[int, bytes, Inode | None, Inode | None, list[str]]


def compare(fields: dict[str, Any], fds: list[int], say: Say) -> dict[str, Any]:
    """The operation. Raises BadArchive, OSError."""
    out_fd, *given_fds, folder_fd = fds
    pace = Pace(say)
    tar_fds = seekable(given_fds, folder_fd, pace)
    roots = [tree.root for tree in trees(tar_fds, pace)]
    before, after = (stacked(roots[number] for number in fields[side]) for side in ("from", "to"))
    counts, text = [0, 0, 0], bytearray()
    for kind, path, old, new, what in differences(before, after, tar_fds, pace):
        text += b",\n" if any(counts) else b""
        counts[kind] += 1
        item = {"Path": "/" + path.decode(errors="replace"), "Kind": kind, "From": _bytes(old), "To": _bytes(new)} | ({"What": what} if what else {})
        text += json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) > READ_BYTES:
            write_all(out_fd, bytes(text))
            text.clear()
    write_all(out_fd, bytes(text))
    return {"changed": counts[CHANGED], "added": counts[ADDED], "removed": counts[REMOVED]}


def differences(before: Inode, after: Inode, tar_fds: Sequence[int], pace: Pace) -> Iterator[Difference]:
    """(kind, path, before, after, in what) of every file that differs, folders before what is in them.

    Of a folder that is gone or new everything that was in it is told, too.
    """
    pending: list[tuple[bytes, Inode | None, Inode | None]] = [(b"", before, after)]
    while pending:
        path, old, new = pending.pop()
        pace.at(shown(path))
        if old is None or new is None:
            yield (ADDED if old is None else REMOVED), path, old, new, []
        elif path and (what := _what(old, new, tar_fds, pace)):
            yield CHANGED, path, old, new, what
        prefix = path + b"/" if path else b""
        olds = (old.children if old is not None else None) or {}
        news = (new.children if new is not None else None) or {}
        pending += [(prefix + name, olds.get(name), news.get(name)) for name in sorted(olds.keys() | news.keys(), reverse=True)]


def _what(old: Inode, new: Inode, tar_fds: Sequence[int], pace: Pace) -> list[str]:
    if old is new:
        return []
    if old.kind != new.kind:
        return ["type"]
    found = []
    if (old.kind == FILE and (old.size != new.size or not _same_content(old, new, tar_fds, pace))) or (old.kind == LINK and old.target != new.target):
        found.append("content")
    if old.kind in (CHAR, BLOCK_DEVICE) and old.rdev != new.rdev:
        found.append("device")
    if old.mode != new.mode:
        found.append("mode")
    if (old.uid, old.gid) != (new.uid, new.gid):
        found.append("owner")
    if (old.xattrs or {}) != (new.xattrs or {}):
        found.append("attributes")
    return found


def _same_content(old: Inode, new: Inode, tar_fds: Sequence[int], pace: Pace) -> bool:
    if (old.tar, old.offset) == (new.tar, new.offset) or not old.size:
        return True
    if old.sparse is None and new.sparse is None:
        return _same_bytes(tar_fds[old.tar], old.offset, tar_fds[new.tar], new.offset, old.size, pace)
    return _joined_equal(content(old, tar_fds, pace), content(new, tar_fds, pace))


def _same_bytes(one_fd: int, one_at: int, other_fd: int, other_at: int, size: int, pace: Pace) -> bool:
    while size:
        count = min(READ_BYTES, size)
        if os.pread(one_fd, count, one_at) != os.pread(other_fd, count, other_at):
            return False
        pace.read(count)
        one_at, other_at, size = one_at + count, other_at + count, size - count
    return True


def _joined_equal(one: "Iterator[Any]", other: "Iterator[Any]") -> bool:
    """Whether two streams of pieces, cut at different places, hold the same."""
    left, right = memoryview(b""), memoryview(b"")
    while True:
        left = left or memoryview(next(one, b""))
        right = right or memoryview(next(other, b""))
        count = min(len(left), len(right))
        if not count:
            return len(left) == len(right)
        if left[:count] != right[:count]:
            return False
        left, right = left[count:], right[count:]


def _bytes(inode: Inode | None) -> int | None:
    return inode.size if inode is not None and inode.kind == FILE else None
