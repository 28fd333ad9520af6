"""The fields of tar headers: octal and base-256 numbers, pax records, pax times, sparse maps. Pure, strict, and no I/O.

Sources: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format" and "Storing Sparse Files".
Everything raises ValueError with the reason; the reader adds the entry's name.
"""

import zlib

from pier.archive.refusal import shown

SparseMap = list[tuple[int, int]]  # (offset in the file, length), in ascending order, no overlap; data is packed in this order


def number(field: bytes, what: str) -> int:
    """An octal or base-256 number of a header field; empty is 0. Refuses signs, blanks inside, digits 8 and 9."""
    text = field.rstrip(b" \0")
    if text.isdigit() and b"8" not in text and b"9" not in text:
        return int(text, 8)  # nearly all of them, and half the time of reading a tar
    if field and field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40:
            raise ValueError(f"{what} is negative")
        return value
    text = field.lstrip(b" \0").split(b"\0", 1)[0].rstrip(b" ")
    if not text:
        return 0
    if not text.isdigit() or b"8" in text or b"9" in text:
        raise ValueError(f"{what} is not a number: {shown(text)!r}")
    return int(text, 8)


def byte_sum(block: bytes) -> int:
    """The sum of a header's bytes: by Adler-32, whose lower half it is, and a third of the time of `sum`, while it cannot pass 65520."""
    return (zlib.adler32(block) & 0xFFFF) - 1 if block.count(0) >= 256 else sum(block)


def signed(field: bytes, what: str) -> int:
    """Like `number`, but base-256 may be negative (a time before 1970)."""
    if field and field[0] & 0xC0 == 0xC0:
        return int.from_bytes(field, "big", signed=True)
    return number(field, what)


def decimal(text: bytes, what: str) -> int:
    """A decimal number of a pax record, below 2**63."""
    if not text.isdigit() or len(text) > 19 or (value := int(text)) >= 1 << 63:
        raise ValueError(f"{what} is not a number: {shown(text)!r}")
    return value


def pax_time(text: bytes) -> tuple[int, int]:
    """Seconds and nanoseconds of a pax time; digits beyond nanoseconds are cut, as Go's archive/tar does."""
    negative = text.startswith(b"-")
    whole, _, fraction = text.removeprefix(b"-").partition(b".")
    if not whole.isdigit() or (fraction and not fraction.isdigit()) or len(whole) > 19:
        raise ValueError(f"time is not a number: {shown(text)!r}")
    seconds, nanoseconds = int(whole), int((fraction + b"000000000")[:9])
    if negative:
        return (-seconds, 0) if not nanoseconds else (-seconds - 1, 1_000_000_000 - nanoseconds)
    return seconds, nanoseconds


def pax_records(data: bytes) -> list[tuple[bytes, bytes]]:
    """The (keyword, value) records of a pax header in their order; "%d %s=%s\\n", the number counts the whole record."""
    records, at = [], 0
    while at < len(data):
        blank = data.find(b" ", at, at + 20)
        length = data[at:blank] if blank > 0 else b""
        if not length.isdigit():
            raise ValueError("a pax record has no length")
        stop = at + int(length)
        if stop > len(data) or stop <= blank + 2 or data[stop - 1] != 10:
            raise ValueError("a pax record's length is wrong")
        key, equals, value = data[blank + 1 : stop - 1].partition(b"=")
        if not equals or not key or b"\0" in key:
            raise ValueError("a pax record has no keyword")
        if b"\0" in value and key in (b"path", b"linkpath", b"uname", b"gname"):
            raise ValueError(f"a NUL in pax keyword {shown(key)}")
        records.append((key, value))
        at = stop
    return records


def sparse_old(fields: bytes, count: int) -> tuple[SparseMap, bool]:
    """`count` pairs of 12-byte fields of an old GNU sparse header; False when the list ended before the last one."""
    found: SparseMap = []
    for at in range(0, 24 * count, 24):
        if not fields[at] and not fields[at + 12]:
            return found, False
        found.append((number(fields[at : at + 12], "sparse offset"), number(fields[at + 12 : at + 24], "sparse length")))
    return found, True


def sparse_text(numbers: list[bytes]) -> SparseMap:
    """Pairs of decimal numbers (GNU sparse 0.0, 0.1 and 1.0)."""
    if len(numbers) % 2:
        raise ValueError("the sparse map has an odd number of values")
    values = [decimal(n, "sparse value") for n in numbers]
    return list(zip(values[::2], values[1::2], strict=True))


def check_sparse(found: SparseMap, stored_bytes: int, real_bytes: int) -> SparseMap:
    """The map without empty pieces, if it is in order, inside the file and as long as what is stored; else ValueError."""
    at = stored = 0
    for offset, length in found:
        if offset < at or offset + length > real_bytes:
            raise ValueError("the sparse map is out of order or beyond the file's size")
        at, stored = offset + length, stored + length
    if stored != stored_bytes:
        raise ValueError(f"the sparse map names {stored} bytes, {stored_bytes} are stored")
    return [piece for piece in found if piece[1]]
