"""The worker's operation `differences`: what a container shows that its layers do not, in Docker's words.

differences  [output, layers' roots..., writable folder], engine_made -> count; the list is written to the output, a file

As Docker counts: a file differs by type, mode, owner, device, size, time or capabilities; a folder by type, mode and owner, or when
something in it does. What went with its folder is not told.
"""

import json
import os
import stat
from collections.abc import Collection
from typing import Any

from pier.archive.below import Below, is_whiteout, xattr
from pier.archive.chunks import READ_BYTES, write_all
from pier.archive.pace import Pace, Say
from pier.archive.refusal import shown
from pier.archive.tree import OPAQUE
from pier.archive.upper import Found, engine_made, walk

MODIFIED, ADDED, DELETED = 0, 1, 2
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def list_differences(fields: dict[str, Any], fds: list[int], say: Say) -> dict[str, Any]:
    """Write the list as JSON: `[{"Path": "/a", "Kind": 1}, ...]`, `null` where nothing differs. Raises BadArchive, OSError."""
    out_fd, *layer_fds, upper_fd = fds
    below = Below.of(layer_fds)
    try:
        found = differences(upper_fd, below, engine_made(upper_fd, below, fields.get("engine_made", ())), Pace(say))
    finally:
        below.close()
    text = bytearray()
    for number, (path, kind) in enumerate(found):
        text += b"," if number else b"["
        text += json.dumps({"Path": "/" + path.decode(errors="replace"), "Kind": kind}, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) > READ_BYTES:
            write_all(out_fd, bytes(text))
            text.clear()
    write_all(out_fd, bytes(text + b"]") if found else b"null")
    return {"count": len(found)}


def differences(upper_fd: int, below: Below, left_out: Collection[bytes], pace: Pace) -> list[tuple[bytes, int]]:
    """(path, kind) of each difference, folders before what is in them. Raises BadArchive, OSError."""
    kinds: dict[bytes, int] = {}
    around: list[tuple[bytes, Below, bool]] = [(b"", below, False)]  # path with a slash, what is below it, whether that is hidden
    try:
        for found in walk(upper_fd, left_out):
            pace.at(shown(found.path))
            while not found.path.startswith(around[-1][0]):
                around.pop()[1].close()
            _, folder, hidden = around[-1]
            old = folder.look(found.name)
            if is_whiteout(found.info):
                if old is not None:
                    kinds[found.path] = DELETED
                continue
            if old is None:
                kinds[found.path] = ADDED
            elif _differs(found, old, folder):
                kinds[found.path] = MODIFIED
            if found.is_folder:
                inner = folder.enter(found.name)
                hidden = hidden or xattr(found.fd, OPAQUE) == b"y"
                around.append((found.path + b"/", inner, hidden))
                if hidden:
                    kinds |= {found.path + b"/" + os.fsencode(name): DELETED for name in inner.names().difference(os.listdir(found.fd))}
    finally:
        for _, folder, _ in around[1:]:
            folder.close()
    for path in list(kinds):
        while (path := path.rpartition(b"/")[0]) and path not in kinds:
            kinds[path] = MODIFIED
    return sorted(kinds.items(), key=lambda item: item[0].split(b"/"))


def _differs(found: Found, old: os.stat_result, folder: Below) -> bool:
    new = found.info
    if (old.st_mode, old.st_uid, old.st_gid, old.st_rdev) != (new.st_mode, new.st_uid, new.st_gid, new.st_rdev):
        return True
    if found.is_folder:
        return False
    if old.st_size != new.st_size or not _same_time(old.st_mtime_ns, new.st_mtime_ns):
        return True
    return stat.S_ISREG(new.st_mode) and folder.capability(found.name) != _capability(found)


def _same_time(one_ns: int, other_ns: int) -> bool:
    """Equal, or equal seconds where one has no fraction: a tar may have lost it."""
    if one_ns == other_ns:
        return True
    (one, one_rest), (other, other_rest) = divmod(one_ns, 1_000_000_000), divmod(other_ns, 1_000_000_000)
    return one == other and not (one_rest and other_rest)


def _capability(found: Found) -> bytes:
    try:
        fd = os.open(found.name, _FILE_FLAGS, dir_fd=found.fd)
    except OSError:
        return b""  # gone, or something else now
    try:
        return xattr(fd, b"security.capability")
    finally:
        os.close(fd)
