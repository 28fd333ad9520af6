"""A container's writable folder, walked on descriptors alone: the container may be renaming in it meanwhile, and nothing is followed.

Each folder is opened by its last part, relative to the one it stands in; what has gone, or has become something else, since it was
listed is passed over, as if the walk had come a moment later.
"""

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pier.archive.below import Below, xattr
from pier.archive.limits import DEFAULT, Limits
from pier.archive.refusal import BadArchive, shown
from pier.archive.tree import OPAQUE

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class Found:
    """One entry of the writable folder. `fd` is the folder itself where the entry is one, else the folder it stands in; open until the next."""

    path: bytes
    name: str
    info: os.stat_result
    fd: int

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.info.st_mode)


def walk(root_fd: int, left_out: Collection[bytes] = (), limits: Limits = DEFAULT) -> Iterator[Found]:
    """Everything below `root_fd` but the paths `left_out` (and what is below them); folders first, names in the order of their bytes.

    Raises BadArchive for what lies deeper, or is longer, than a layer can have; OSError.
    """
    top_fd, count = os.open(".", FOLDER_FLAGS, dir_fd=root_fd), 0
    levels = [(b"", top_fd, _names(top_fd))]
    try:
        while levels:
            prefix, fd, names = levels[-1]
            if not names:
                os.close(fd)
                levels.pop()
                continue
            name = names.pop()
            path = prefix + os.fsencode(name)
            if path in left_out:
                continue
            count += 1
            _check(path, len(levels), count, limits)
            try:
                info = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if stat.S_ISDIR(info.st_mode):
                    fd = os.open(name, FOLDER_FLAGS, dir_fd=fd)
                    levels.append((path + b"/", fd, _names(fd)))
                    info = os.fstat(fd)
            except _GONE:
                continue
            yield Found(path, name, info, fd)
    finally:
        for _, fd, _ in levels:
            os.close(fd)


def engine_made(root_fd: int, below: Below, paths: Collection[str]) -> frozenset[bytes]:
    """Those of `paths` that are what the engine itself makes where it mounts something (`dev`, `etc/hosts`): empty, and not in the layers.

    A folder counts when nothing but such paths is in it, and one of the layers when that is all that changed about it. paths: without a
    slash in front; the ones inside a folder beside the folder.
    """
    made: set[bytes] = set()
    for path in sorted(paths, key=lambda path: -path.count("/")):
        if _is_engine_made(root_fd, below, path.split("/"), made):
            made.add(os.fsencode(path))
    return frozenset(made)


def _is_engine_made(root_fd: int, below: Below, parts: list[str], made: Collection[bytes]) -> bool:
    fd, opened, lowers = root_fd, [], [below]
    try:
        for part in parts[:-1]:
            fd = os.open(part, FOLDER_FLAGS, dir_fd=fd)
            opened.append(fd)
            lowers.append(lowers[-1].enter(part))
        name, path = parts[-1], "/".join(parts)
        info = os.stat(name, dir_fd=fd, follow_symlinks=False)
        old = lowers[-1].look(name)
        theirs = (info.st_mode, info.st_uid, info.st_gid)
        if stat.S_ISREG(info.st_mode):
            return old is None and not info.st_size and theirs == (stat.S_IFREG | 0o644, 0, 0)
        if theirs != ((old.st_mode, old.st_uid, old.st_gid) if old else (stat.S_IFDIR | 0o755, 0, 0)) or not stat.S_ISDIR(info.st_mode):
            return False
        opened.append(os.open(name, FOLDER_FLAGS, dir_fd=fd))
        children = os.listdir(opened[-1])
        if old is not None and (not children or xattr(opened[-1], OPAQUE)):
            return False
        return all(os.fsencode(f"{path}/{child}") in made for child in children)
    except OSError:
        return False
    finally:
        for fd in opened:
            os.close(fd)
        for folder in lowers[1:]:
            folder.close()


def _names(fd: int) -> list[str]:
    """The names in a folder, the last one first."""
    return sorted(os.listdir(fd), key=os.fsencode, reverse=True)


def _check(path: bytes, depth: int, count: int, limits: Limits) -> None:
    if len(path) > limits.name_bytes:
        raise BadArchive(shown(path), f"a name of {len(path)} bytes: a layer can have {limits.name_bytes}")
    if depth > limits.depth:
        raise BadArchive(shown(path), f"more than {limits.depth} folders in each other: the limit of a layer")
    if count > limits.entries:
        raise BadArchive(shown(path), f"more than {limits.entries} entries: the limit of a layer")
