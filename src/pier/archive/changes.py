"""The worker's operation `changes`: a container's writable folder becomes a layer.

changes  [writable folder, layers' roots..., ingest folder], kind, engine_made, latest?, owner? -> diff_id, size, tar_bytes, dir

Roots are topmost first. engine_made: paths that are left out where the engine made them (upper.engine_made). One pass: what the writer
makes of the folder is hashed, written and indexed as it comes.
"""

import os
import stat
from collections.abc import Collection, Iterator
from typing import Any

from pier.archive.below import Below, is_whiteout, xattr
from pier.archive.chunks import READ_BYTES, Piece
from pier.archive.layerwriter import Normal, archive, zeros
from pier.archive.limits import DEFAULT
from pier.archive.onelayer import take_one
from pier.archive.pace import Pace, Say
from pier.archive.refusal import BadArchive, shown
from pier.archive.tarwriter import BLOCK_DEVICE, CHAR, FIFO, FILE, FOLDER, HARD_LINK, LINK, Member
from pier.archive.tree import OPAQUE
from pier.archive.upper import Found, engine_made, walk

Fields = dict[str, Any]
_OVERLAY = b"trusted.overlay."
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {stat.S_IFCHR: CHAR, stat.S_IFBLK: BLOCK_DEVICE, stat.S_IFIFO: FIFO, stat.S_IFLNK: LINK}
_CAPABILITY = b"security.capability"
_LABELS = (b"security.", b"system.")  # of this host's policies, but for what the next two lists have
_CARRIED = (_CAPABILITY, b"system.posix_acl_access", b"system.posix_acl_default")


def make_layer(fields: Fields, fds: list[int], say: Say) -> Fields:
    """The operation `changes`. Raises BadArchive for what a layer cannot carry, naming it."""
    upper_fd, *layer_fds, ingest_fd = fds
    below = Below.of(layer_fds)
    left_out = engine_made(upper_fd, below, fields.get("engine_made", ()))
    below.close()
    owner = fields.get("owner")
    normal = Normal(fields.get("latest"), (int(owner[0]), int(owner[1])) if owner else None)
    pace = Pace(say)
    pieces = archive(members(upper_fd, left_out, pace), normal)
    return take_one(ingest_fd, fields.get("kind", "erofs"), lambda: next(pieces, b""), pace)


def members(upper_fd: int, left_out: Collection[bytes], pace: Pace, plain: bool = False) -> Iterator[tuple[Member, Iterator[Piece]]]:
    """What a layer's tar holds of the writable folder, sorted, with whiteouts and opaque folders as names; sockets are passed over.

    plain: the folder is no layer's, and everything in it means itself.
    """
    first: dict[tuple[int, int], bytes] = {}  # of each file with several names
    for found in walk(upper_fd, left_out):
        info, name = found.info, os.fsencode(found.name)
        pace.at(shown(found.path))
        if name.startswith(b".wh.") and not plain:
            raise BadArchive(shown(found.path), "names that begin with .wh. mean a removal in a layer: rename it")
        if is_whiteout(info) and not plain:
            yield Member(found.path[: -len(name)] + b".wh." + name, mode=0o600), iter(())
        elif stat.S_ISDIR(info.st_mode):
            xattrs = _xattrs(found.path, {key: os.getxattr(found.fd, key) for key in os.listxattr(found.fd)})
            yield _member(found, FOLDER, xattrs), iter(())
            if not plain and _is_opaque(found):
                yield Member(found.path + b"/.wh..wh..opq", mode=0o600), iter(())
        elif (target := first.get((info.st_dev, info.st_ino))) is not None:
            yield _member(found, HARD_LINK, {}, link=target), iter(())
        elif not stat.S_ISSOCK(info.st_mode):
            member = _file(found, pace) if stat.S_ISREG(info.st_mode) else _special(found)
            if member is None:
                continue  # gone since it was listed
            if info.st_nlink > 1:
                first[info.st_dev, info.st_ino] = found.path
            yield member


def _member(found: Found, kind: str, xattrs: dict[bytes, bytes], size: int = 0, link: bytes = b"", info: os.stat_result | None = None) -> Member:
    info = info or found.info
    seconds, nanoseconds = divmod(info.st_mtime_ns, 1_000_000_000)
    device = info.st_rdev if kind in (CHAR, BLOCK_DEVICE) else 0
    return Member(
        found.path + (b"/" if kind == FOLDER else b""),
        size=size,
        kind=kind,
        mode=stat.S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
        mtime=seconds,
        mtime_ns=nanoseconds,
        link=link,
        major=os.major(device),
        minor=os.minor(device),
        xattrs=xattrs,
    )


def _file(found: Found, pace: Pace) -> tuple[Member, Iterator[Piece]] | None:
    try:
        fd = os.open(found.name, _FILE_FLAGS, dir_fd=found.fd)
    except (FileNotFoundError, IsADirectoryError):
        return None
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            os.close(fd)
            return None
        if info.st_size > DEFAULT.total_bytes:
            raise BadArchive(shown(found.path), f"a file of {info.st_size} bytes: the limit is {DEFAULT.total_bytes}: make it shorter")
        xattrs = _xattrs(found.path, {key: os.getxattr(fd, key) for key in os.listxattr(fd)})
        return _member(found, FILE, xattrs, info.st_size, info=info), _content(fd, info, pace)
    except BaseException:
        os.close(fd)
        raise


def _content(fd: int, info: os.stat_result, pace: Pace) -> Iterator[Piece]:
    """What is in the file, its holes as ZEROS; at most the size that the header says is read."""
    try:
        at, size = 0, info.st_size
        sparse = info.st_blocks * 512 < size
        while at < size:
            if sparse:
                try:
                    data_at = os.lseek(fd, at, os.SEEK_DATA)
                except OSError:
                    data_at = size  # ENXIO: a hole up to the end
                for piece in zeros(min(data_at, size) - at):
                    pace.read(len(piece))
                    yield piece
                at = data_at
                if at >= size:
                    return
                stop = min(size, os.lseek(fd, at, os.SEEK_HOLE))
            else:
                stop = size
            while at < stop:
                piece = os.pread(fd, min(READ_BYTES, stop - at), at)
                if not piece:
                    return  # cut short meanwhile
                pace.read(len(piece))
                at += len(piece)
                yield piece
    finally:
        os.close(fd)


def _special(found: Found) -> tuple[Member, Iterator[Piece]] | None:
    """A link, device or FIFO: its attributes are read by name, in the folder it stands in (fchdir), never through it."""
    kind = _KINDS[stat.S_IFMT(found.info.st_mode)]
    try:
        link = os.readlink(os.fsencode(found.name), dir_fd=found.fd) if kind == LINK else b""
        os.fchdir(found.fd)
        keys = os.listxattr(found.name, follow_symlinks=False)
        xattrs = _xattrs(found.path, {key: os.getxattr(found.name, key, follow_symlinks=False) for key in keys})
    except OSError:
        return None  # gone, or something else now
    return _member(found, kind, xattrs, link=link), iter(())


def _xattrs(path: bytes, given: dict[str, bytes]) -> dict[bytes, bytes]:
    """The attributes that a layer carries: none of overlay's own, no labels of this host. Raises BadArchive for a file that is not all there."""
    kept = {}
    for key, value in given.items():
        name = os.fsencode(key)
        if name == _OVERLAY + b"redirect":
            raise BadArchive(shown(path), "it was renamed by overlayfs's redirect_dir: its content is in the layers below under another name")
        if name == _OVERLAY + b"metacopy":
            raise BadArchive(shown(path), "overlayfs's metacopy left its content in the layers below")
        if name.startswith(_OVERLAY) or b"=" in name or (name.startswith(_LABELS) and name not in _CARRIED):
            continue
        kept[name] = value
    return kept


def _is_opaque(found: Found) -> bool:
    value = xattr(found.fd, OPAQUE)
    if value not in (b"", b"y"):
        raise BadArchive(shown(found.path), f"overlayfs marked the folder with {shown(value)!r}: only opaque folders are known")
    return value == b"y"
