"""Tars made by hand, header by header: what no honest program would write included."""

from collections.abc import Iterable

BLOCK = 512


def octal(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def base256(value: int, width: int) -> bytes:
    raw = bytearray(value.to_bytes(width, "big", signed=value < 0))
    raw[0] |= 0x80
    return bytes(raw)


def checksummed(header: bytes) -> bytes:
    assert len(header) == BLOCK
    total = sum(header[:148]) + 8 * 32 + sum(header[156:])
    return header[:148] + b"%06o\0 " % total + header[156:]


def header(
    name: bytes,
    kind: bytes = b"0",
    size: int | bytes = 0,
    mode: int = 0o644,
    uid: int | bytes = 0,
    gid: int = 0,
    mtime: int | bytes = 1_600_000_000,
    link: bytes = b"",
    device: tuple[int, int] = (0, 0),
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
) -> bytes:
    """One header block with a right checksum; numbers may be given as raw fields."""
    field = lambda value, width: value if isinstance(value, bytes) else octal(value, width)  # noqa: E731
    assert len(name) <= 100 and len(link) <= 100
    raw = name.ljust(100, b"\0") + octal(mode, 8) + field(uid, 8) + octal(gid, 8) + field(size, 12) + field(mtime, 12) + bytes(8)
    raw += kind + link.ljust(100, b"\0") + magic + bytes(64) + octal(device[0], 8) + octal(device[1], 8) + prefix.ljust(155, b"\0")
    return checksummed(raw.ljust(BLOCK, b"\0"))


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def file(name: bytes, content: bytes = b"", **fields: object) -> bytes:
    return header(name, b"0", len(content), **fields) + padded(content)  # type: ignore[arg-type]


def folder(name: bytes, mode: int = 0o755, **fields: object) -> bytes:
    return header(name, b"5", mode=mode, **fields)  # type: ignore[arg-type]


def symlink(name: bytes, target: bytes) -> bytes:
    return header(name, b"2", link=target, mode=0o777)


def hardlink(name: bytes, target: bytes) -> bytes:
    return header(name, b"1", link=target)


def pax(records: Iterable[tuple[bytes, bytes]], kind: bytes = b"x") -> bytes:
    body = b""
    for key, value in records:
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest) + 1
        while len(str(length)) + len(rest) != length:
            length = len(str(length)) + len(rest)
        body += b"%d" % length + rest
    return header(b"PaxHeaders/x", kind, len(body)) + padded(body)


def gnu_long(name: bytes, kind: bytes = b"L") -> bytes:
    return header(b"././@LongLink", kind, len(name) + 1, magic=b"ustar  \0") + padded(name + b"\0")


def end() -> bytes:
    return bytes(2 * BLOCK)


def tar(*parts: bytes) -> bytes:
    return b"".join(parts) + end()
