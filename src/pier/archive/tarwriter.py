"""Writing a tar, header by header: the other half of tarstream, for archives of images and for layers that are made here. Pure.

The same values give the same bytes. A header is plain ustar where everything fits into it; what does not (long names, sizes from 8 GiB on,
large owners, times with a fraction or before 1970, extended attributes) goes into a pax header before it, as Go's archive/tar and GNU tar
write and read it. No names of users and groups: they mean something else on every machine.
Source: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Extended Header".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pier.archive.tarnumbers import byte_sum

BLOCK = 512
FILE, HARD_LINK, LINK, CHAR, BLOCK_DEVICE, FOLDER, FIFO = "0", "1", "2", "3", "4", "5", "6"
END = bytes(2 * BLOCK)
_OCTAL_7, _OCTAL_11 = 0o7777777, 0o77777777777  # the largest numbers of a field of 8 and of 12 bytes
_XATTR = b"SCHILY.xattr."
_LAYOUT = (
    b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" + b" " * 8 + b"%b%bustar\x0000" + bytes(64) + b"%07o\0%07o\0%b" + bytes(12)
)  # name, mode, uid, gid, size, mtime, the checksum's place, kind, link, magic, no names of owners, major, minor, prefix


@dataclass(frozen=True, slots=True)
class Member:
    """What a header says. `size` is of the payload that follows, filled up to whole blocks; 0 for all but files."""

    name: bytes
    size: int = 0
    kind: str = FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    mtime_ns: int = 0
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)


def header(member: Member) -> bytes:
    """The blocks before a member's payload: one, or three and more with a pax header.

    Raises ValueError for a NUL in a name and for a device number that no tar can carry.
    """
    if b"\0" in member.name or b"\0" in member.link:
        raise ValueError(f"a NUL in the name {member.name!r}")
    if member.major > _OCTAL_7 or member.minor > _OCTAL_7:
        raise ValueError(f"device {member.major}:{member.minor} of {member.name!r} does not fit into a tar")
    records = b"".join(_record(key, value) for key, value in _pax(member))
    block = _ustar(member, member.kind, member.size)
    if not records:
        return block
    announcing = Member(b"PaxHeaders.0/" + member.name.rstrip(b"/").rpartition(b"/")[2][:80], mtime=0)
    return _ustar(announcing, "x", len(records)) + records + padding(len(records)) + block


def padding(size: int) -> bytes:
    """The zero bytes that follow a payload of `size` bytes."""
    return bytes(-size % BLOCK)


def padded(size: int) -> int:
    """Bytes that a payload takes in the archive."""
    return size + -size % BLOCK


def _pax(member: Member) -> list[tuple[bytes, bytes]]:
    """What does not fit into the plain header, in the order of the keys."""
    records: list[tuple[bytes, bytes]] = []
    if member.gid > _OCTAL_7:
        records.append((b"gid", b"%d" % member.gid))
    if len(member.link) > 100 or not member.link.isascii():
        records.append((b"linkpath", member.link))
    if member.mtime_ns or not 0 <= member.mtime <= _OCTAL_11:
        records.append((b"mtime", _time(member.mtime, member.mtime_ns)))
    if _split(member.name) is None or not member.name.isascii():
        records.append((b"path", member.name))
    if member.size > _OCTAL_11:
        records.append((b"size", b"%d" % member.size))
    if member.uid > _OCTAL_7:
        records.append((b"uid", b"%d" % member.uid))
    records += [(_XATTR + name, member.xattrs[name]) for name in sorted(member.xattrs)]
    return sorted(records)


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE\\n`, where the length counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if rest + len(str(length)) != length:
        length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _time(seconds: int, nanoseconds: int) -> bytes:
    """`seconds` and the nanoseconds after them, as one decimal number."""
    total = seconds * 1_000_000_000 + nanoseconds
    whole, fraction = divmod(abs(total), 1_000_000_000)
    text = f"{whole}.{fraction:09}".rstrip("0").rstrip(".") if fraction else f"{whole}"
    return f"{'-' if total < 0 else ''}{text}".encode()


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """(prefix, name) of the plain header; None where the name does not fit."""
    if len(name) <= 100:
        return b"", name
    at = name.rfind(b"/", 0, 156) if len(name) <= 256 else -1
    if at <= 0 or len(name) - at - 1 > 100 or at == len(name) - 1:
        return None
    return name[:at], name[at + 1 :]


def _ustar(member: Member, kind: str, size: int) -> bytes:
    """One block; what does not fit is cut or zero: the pax header before it counts."""
    prefix, name = _split(member.name) or (b"", member.name[:100])
    block = _LAYOUT % (
        name.ljust(100, b"\0"),
        member.mode & 0o7777,
        _fitting(member.uid, _OCTAL_7),
        _fitting(member.gid, _OCTAL_7),
        _fitting(size, _OCTAL_11),
        _fitting(member.mtime, _OCTAL_11),
        kind.encode(),
        member.link[:100].ljust(100, b"\0"),
        member.major,
        member.minor,
        prefix.ljust(155, b"\0"),
    )
    return block[:148] + b"%06o\0 " % byte_sum(block) + block[156:]


def _fitting(value: int, largest: int) -> int:
    return value if 0 <= value <= largest else 0
