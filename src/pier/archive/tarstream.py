"""Reading a tar as it streams past: one header at a time, strict, with bounds, from a source that cannot seek.

Understands what Go's archive/tar does (so that Docker and Pier see the same entries): V7, ustar, GNU and pax, long
names, base-256 numbers, old GNU and pax sparse files. A pax global header is skipped, as Docker does. Entries are
reported as they stand in the archive; what a name may be is decided by who uses them (tree, image archive).
"""

from pier.archive import tarnumbers as numbers
from pier.archive.chunks import Chunks, Piece
from pier.archive.limits import DEFAULT, Limits
from pier.archive.refusal import BadArchive, shown

BLOCK = 512
_ZERO = bytes(BLOCK)
_HEADER_ONLY = frozenset(b"123456")  # no payload follows, whatever the size field says (Go: isHeaderOnly)
_KINDS = frozenset(b"01234567S")
_XATTR = b"SCHILY.xattr."
_XATTR_BYTES = 65535  # one less than XATTR_SIZE_MAX: the size has 16 bits in an index


class Entry:
    """One member. `kind` is the type flag ("0" file, "1" hard link, "2" link, "3" char, "4" block, "5" folder, "6" fifo).

    `size` is the file's, `stored` the bytes of payload that begin at `offset` in the stream; they differ where `sparse` is set.
    """

    __slots__ = ("gid", "kind", "link", "major", "minor", "mode", "mtime", "mtime_ns", "name", "offset", "size", "sparse", "stored", "uid", "xattrs")
    name: bytes
    link: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    stored: int
    offset: int
    mtime: int
    mtime_ns: int
    major: int
    minor: int
    xattrs: dict[bytes, bytes] | None
    sparse: numbers.SparseMap | None


class TarReader:
    """Entries of the tar in `source`, whose position must be the archive's start."""

    def __init__(self, source: Chunks, limits: Limits = DEFAULT, max_entries: int | None = None) -> None:
        self._source, self._limits = source, limits
        self._base = source.position
        self._left = self._padding = 0
        self._count, self._max = 0, max_entries if max_entries is not None else limits.entries
        self._name = b""

    def next(self) -> Entry | None:
        """The next entry, None at the end of the archive. What was left of the payload before is passed over.

        Raises BadArchive.
        """
        self._pass_payload()
        try:
            entry = self._read()
        except ValueError as error:
            raise BadArchive(shown(self._name), str(error)) from None
        if entry:
            self._count += 1
            if self._count > self._max:
                raise BadArchive(shown(entry.name), f"more than {self._max} entries: the limit")
        return entry

    def some(self, limit: int) -> Piece:
        """A piece of the current entry's payload, at most `limit` bytes; empty at its end. Raises BadArchive if it is cut short."""
        piece = self._source.some(min(limit, self._left))
        if not piece and self._left:
            raise self._cut("in the middle of its content")
        self._left -= len(piece)
        return piece

    def _pass_payload(self) -> None:
        want = self._left + self._padding
        if want and self._source.skip(want) != want:
            raise self._cut("in the middle of its content")
        self._left = self._padding = 0

    def _cut(self, where: str) -> BadArchive:
        return BadArchive(shown(self._name), f"the archive ends {where}")

    def _block(self) -> bytes:
        block = self._source.take(BLOCK)
        if len(block) != BLOCK:
            raise self._cut("in the middle of a header" if block else "before the entry that a long name or pax header announced")
        return block

    def _special(self, size: int, what: str) -> bytes:
        if size > self._limits.special_bytes:
            raise ValueError(f"a {what} of {size} bytes, the limit is {self._limits.special_bytes}")
        padded = -(-size // BLOCK) * BLOCK
        data = self._source.take(padded)
        if len(data) != padded:
            raise self._cut(f"in the middle of a {what}")
        return data[:size]

    def _read(self) -> Entry | None:
        pax: dict[bytes, bytes] = {}
        sparse_pairs: list[bytes] = []
        long_name = long_link = None
        announced = False
        while True:
            header = self._block() if announced else self._source.take(BLOCK)
            if not header:
                return None
            if len(header) != BLOCK:
                raise self._cut("in the middle of a header")
            if header == _ZERO:
                if announced or self._source.take(BLOCK) not in (_ZERO, b""):
                    raise ValueError("a block of zeros among the entries")
                return None
            self._name = long_name if long_name is not None else header[:100].split(b"\0", 1)[0]
            try:
                _check_sum(header)
            except ValueError:
                if self._count or announced or header[257:262] == b"ustar":
                    raise
                raise BadArchive("", "this is no tar archive") from None
            flag = header[156]
            size = numbers.number(header[124:136], "size")
            if flag == 0x78:  # x
                for key, value in numbers.pax_records(self._special(size, "pax header")):
                    if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                        sparse_pairs.append(value)
                    elif value:
                        pax[key] = value
                    else:
                        pax.pop(key, None)
            elif flag == 0x67:  # g
                self._special(size, "pax header")
                continue
            elif flag == 0x4C:  # L
                long_name = self._special(size, "long name").split(b"\0", 1)[0]
            elif flag == 0x4B:  # K
                long_link = self._special(size, "long link").split(b"\0", 1)[0]
            else:
                return self._entry(header, flag, size, pax, sparse_pairs, long_name, long_link)
            announced = True

    def _entry(
        self,
        header: bytes,
        flag: int,
        size: int,
        pax: dict[bytes, bytes],
        sparse_pairs: list[bytes],
        long_name: bytes | None,
        long_link: bytes | None,
    ) -> Entry:
        entry = Entry()
        name, link = _names(header)
        entry.name = name if long_name is None else long_name
        entry.link = link if long_link is None else long_link
        entry.mode = numbers.number(header[100:108], "mode")
        entry.uid = numbers.number(header[108:116], "owner")
        entry.gid = numbers.number(header[116:124], "group")
        entry.mtime, entry.mtime_ns = numbers.signed(header[136:148], "time"), 0
        entry.xattrs = None
        if pax:
            size = _apply_pax(entry, pax, size)
        self._name = entry.name
        if size >= 1 << 62:
            raise ValueError(f"a size of {size} bytes")
        if flag == 0:
            flag = 0x35 if entry.name.endswith(b"/") else 0x30
        elif flag == 0x37:  # "contiguous file": every reader takes it for a file
            flag = 0x30
        if flag not in _KINDS:
            raise ValueError(f"entries of type {chr(flag)!r} are not known")
        if flag in (0x33, 0x34):
            entry.major, entry.minor = numbers.number(header[329:337], "device"), numbers.number(header[337:345], "device")
        else:
            entry.major = entry.minor = 0
        entry.size = entry.stored = 0 if flag in _HEADER_ONLY else size
        entry.sparse = None
        self._left, self._padding = entry.stored, -entry.stored % BLOCK
        if flag == 0x53:
            self._old_sparse(entry, header)
        elif flag == 0x30 and (sparse_pairs or any(key.startswith(b"GNU.sparse.") for key in pax)):
            self._pax_sparse(entry, pax, sparse_pairs)
        entry.kind = "0" if flag == 0x53 else chr(flag)
        entry.offset = self._source.position - self._base
        return entry

    def _old_sparse(self, entry: Entry, header: bytes) -> None:
        found, more = numbers.sparse_old(header[386:482], 4)
        real, extended = numbers.number(header[483:495], "real size"), bool(header[482])
        while extended:
            block = self._block()
            part, more = numbers.sparse_old(block, 21) if more else ([], False)
            found += part
            if len(found) * 24 > self._limits.special_bytes:
                raise ValueError("the sparse map is too long")
            extended = bool(block[504])
        entry.sparse, entry.size = numbers.check_sparse(found, entry.stored, real), real

    def _pax_sparse(self, entry: Entry, pax: dict[bytes, bytes], pairs: list[bytes]) -> None:
        major, minor = pax.get(b"GNU.sparse.major", b""), pax.get(b"GNU.sparse.minor", b"")
        version = (major + b"." + minor) if major or minor else b""
        if version == b"1.0":
            found = self._sparse_in_payload(entry)
        elif version in (b"", b"0.0", b"0.1"):
            if b"GNU.sparse.map" in pax:
                pairs = pax[b"GNU.sparse.map"].split(b",")
            elif not pairs and not version:
                return
            found = numbers.sparse_text(pairs)
        else:
            raise ValueError(f"sparse format {shown(version)} is not known")
        real = pax.get(b"GNU.sparse.realsize") or pax.get(b"GNU.sparse.size")
        if real is None:
            raise ValueError("a sparse file without its size")
        entry.name = self._name = pax.get(b"GNU.sparse.name", entry.name)
        entry.size = numbers.decimal(real, "real size")
        entry.sparse = numbers.check_sparse(found, entry.stored, entry.size)

    def _sparse_in_payload(self, entry: Entry) -> numbers.SparseMap:
        """Format 1.0: the map stands before the data: a count, then pairs, one number a line, filled up to a block."""
        text, lines, wanted = b"", 0, 1
        while lines < wanted:
            block = self._block() if entry.stored - len(text) >= BLOCK else b""
            text += block
            if not block or len(text) > self._limits.special_bytes:
                raise ValueError("the sparse map is cut short or too long")
            lines = text.count(b"\n")
            if wanted == 1 and lines:
                wanted = 1 + 2 * numbers.decimal(text.split(b"\n", 1)[0], "sparse count")
        entry.stored -= len(text)
        self._left -= len(text)
        return numbers.sparse_text(text.split(b"\n", wanted)[1:wanted])


def _check_sum(header: bytes) -> None:
    """The sum of the header's bytes with blanks for the field itself; old tars summed signed bytes."""
    stated = numbers.number(header[148:156], "checksum")
    total = numbers.byte_sum(header) - sum(header[148:156]) + 256
    if stated != total and stated != total - 256 * sum(1 for i, b in enumerate(header) if b > 127 and not 148 <= i < 156):
        raise ValueError("the header's checksum is wrong: not a tar, or a damaged one")


def _names(header: bytes) -> tuple[bytes, bytes]:
    name, link = header[:100].split(b"\0", 1)[0], header[157:257].split(b"\0", 1)[0]
    if header[345] and header[257:263] == b"ustar\0":
        field = header[345:476] if header[508:512] == b"tar\0" else header[345:500]
        name = field.split(b"\0", 1)[0] + b"/" + name
    return name, link


def _apply_pax(entry: Entry, pax: dict[bytes, bytes], size: int) -> int:
    for key, value in pax.items():
        if key == b"path":
            entry.name = value
        elif key == b"linkpath":
            entry.link = value
        elif key == b"size":
            size = numbers.decimal(value, "size")
        elif key == b"uid":
            entry.uid = numbers.decimal(value, "owner")
        elif key == b"gid":
            entry.gid = numbers.decimal(value, "group")
        elif key == b"mtime":
            entry.mtime, entry.mtime_ns = numbers.pax_time(value)
        elif key.startswith(_XATTR) and len(key) > len(_XATTR):
            if len(value) > _XATTR_BYTES:
                raise ValueError(f"attribute {shown(key[len(_XATTR) :])} has {len(value)} bytes, the limit is {_XATTR_BYTES}")
            entry.xattrs = entry.xattrs or {}
            entry.xattrs[key[len(_XATTR) :]] = value
    return size
