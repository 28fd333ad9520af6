"""The index of a layer: an EROFS image that holds the tree and points at the payloads inside the layer's tar.

On-disk format: Linux fs/erofs/erofs_fs.h. Block size 512, so that every payload of a tar begins on a block. One extra
device (the tar) is mapped behind the index's own blocks. The file:

    0      nothing; at 1024 the superblock, at 1152 the device slot
    4096   content of sparse files, each in one run with holes in this file where it has holes (so none costs its size)
    meta   inodes (64 bytes, then attributes, then a short link's target); folders' entries and long links' targets

Every inode is "extended", with its data in one run (FLAT_PLAIN) or, for short links, behind it (FLAT_INLINE).
"""

import os
import struct
from collections.abc import Iterator

from pier.archive.tree import ACL_ACCESS, ACL_DEFAULT, BLOCK_DEVICE, CHAR, FILE, FOLDER, LINK, Inode, Tree

BLOCK = 512
HEAD = 4096
_MAGIC, _DEVICE_TABLE = 0xE0F5E1E2, 0x8
_SUPERBLOCK = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQB23x")
_SLOT = struct.Struct("<64sII56x")
_INODE = struct.Struct("<HHHHQIIIIqII16x")
_DIRENT = struct.Struct("<QHBB")
_XATTR = struct.Struct("<BBH")
_ROOT_AT = 64  # the root's number is 16 bits wide and not 0: it stands first, two slots in
_PLAIN, _INLINE = 0, 2
_MODES = {FILE: 0o100000, FOLDER: 0o040000, CHAR: 0o020000, BLOCK_DEVICE: 0o060000, 5: 0o010000, LINK: 0o120000}
_PREFIXES = ((b"user.", 1), (b"trusted.", 4), (b"security.", 6))
_WHOLE_NAMES = {ACL_ACCESS: 2, ACL_DEFAULT: 3}
_FLUSH_BYTES = 256 << 10


class IndexTooLarge(ValueError):
    """The layer needs more than the 2**32 blocks of 512 bytes that the format can address."""


def write_index(tree: Tree, index_fd: int, tar_fd: int, tar_bytes: int, uuid: bytes) -> int:
    """Write the index of `tree` to the empty file `index_fd`; returns its size in bytes.

    `tar_fd` is the layer's tar (read for sparse files only), `uuid` 16 bytes that name the layer. Raises OSError, IndexTooLarge.
    """
    return _Writer(tree, index_fd, tar_fd, tar_bytes).write(uuid)


def uuid_of(diff_id: str) -> bytes:
    """What the index of that layer has as its name."""
    return bytes.fromhex(diff_id.removeprefix("sha256:")[:32])


def check_tar(index_fd: int, tar_bytes: int) -> None:
    """Whether a tar of that size can be the one that an index was made for. Raises ValueError that says what is wrong; OSError."""
    head = os.pread(index_fd, _SUPERBLOCK.size + _SLOT.size, 1024)
    if len(head) < _SUPERBLOCK.size + _SLOT.size or _SUPERBLOCK.unpack_from(head)[0] != _MAGIC:
        raise ValueError("its index is damaged")
    blocks = _SLOT.unpack_from(head, _SUPERBLOCK.size)[1]
    if -(-tar_bytes // BLOCK) != blocks:
        raise ValueError(f"its tar has {tar_bytes} bytes, its index was made for {blocks * BLOCK}")


class _Output:
    """Appends to the index at a block, buffered."""

    def __init__(self, fd: int, position: int) -> None:
        self._fd, self._buffer, self._start = fd, bytearray(), position

    @property
    def position(self) -> int:
        return self._start + len(self._buffer)

    def append(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= _FLUSH_BYTES:
            self.flush()

    def pad_to(self, position: int) -> None:
        self.append(bytes(position - self.position))

    def flush(self) -> None:
        view = memoryview(self._buffer)
        while view:
            done = os.pwrite(self._fd, view, self._start)
            self._start += done
            view = view[done:]
        self._buffer = bytearray()


class _Writer:
    def __init__(self, tree: Tree, index_fd: int, tar_fd: int, tar_bytes: int) -> None:
        self._tree, self._fd, self._tar_fd, self._tar_bytes = tree, index_fd, tar_fd, tar_bytes
        self._inodes: list[Inode] = []
        self._folders: list[tuple[Inode, Inode]] = []  # with its parent

    def write(self, uuid: bytes) -> int:
        data_end = self._copy_sparse(HEAD)
        meta_end = data_end + self._number(_ROOT_AT)
        end = self._write_contents(-(-meta_end // BLOCK) * BLOCK)
        size = -(-end // HEAD) * HEAD
        mapped, tar_blocks = size // BLOCK, -(-self._tar_bytes // BLOCK)
        if mapped + tar_blocks >= 1 << 32:
            raise IndexTooLarge(f"a layer of {self._tar_bytes} bytes with {size} bytes of index")
        self._write_inodes(data_end, mapped)
        os.ftruncate(self._fd, size)
        super_block = _SUPERBLOCK.pack(
            *(_MAGIC, 0, 0, 9, 0, self._tree.root.nid, len(self._inodes), 0, 0, mapped + tar_blocks, data_end // BLOCK, 0),
            *(uuid, b"pier", _DEVICE_TABLE, 0, 1, (1024 + 128) // 128, 0, 0, 0, 0, 0),
        )
        head = _Output(self._fd, 1024)
        head.append(super_block + _SLOT.pack(b"layer.tar", tar_blocks, mapped))
        head.flush()
        return size

    def _copy_sparse(self, at: int) -> int:
        """Copy the pieces of sparse files to their places; returns the next free byte."""
        seen = set()
        for _, inode in walk(self._tree.root):
            if inode.sparse is None or id(inode) in seen:
                continue
            seen.add(id(inode))
            inode.block, source = at // BLOCK, inode.offset
            for offset, length in inode.sparse:
                copy_range(self._tar_fd, source, self._fd, at + offset, length)
                source += length
            at += -(-inode.size // HEAD) * HEAD
        return at

    def _number(self, at: int) -> int:
        """Give every inode its number (its place in 32-byte slots); returns the end of the inodes in bytes."""
        for folder, parent in folders(self._tree.root):
            self._folders.append((folder, parent))
            children = folder.children or {}
            for inode in (folder, *(children[name] for name in sorted(children) if children[name].kind != FOLDER)):
                if inode.nid:
                    continue
                size = 64 + _xattr_bytes(inode.xattrs)
                if _is_short_link(inode):
                    # The target must not cross a block (fs/erofs/inode.c): begin in the next one where it would.
                    size += inode.size
                    if at % BLOCK + size > BLOCK:
                        at += -at % BLOCK
                inode.nid = at // 32
                self._inodes.append(inode)
                at += -(-size // 32) * 32
        return at

    def _write_contents(self, at: int) -> int:
        """Write folders and long links, and set each one's block, size and link count; returns the end."""
        out = _Output(self._fd, at)
        for folder, parent in self._folders:
            children = folder.children or {}
            folder.block = out.position // BLOCK
            folder.nlink = 2 + sum(1 for child in children.values() if child.kind == FOLDER)
            entries = [(name, child.nid, child.kind) for name, child in children.items()]
            entries += [(b".", folder.nid, FOLDER), (b"..", parent.nid, FOLDER)]
            entries.sort()
            folder.size = 0
            for block in _dirent_blocks(entries):
                folder.size += -folder.size % BLOCK + len(block)
                out.append(block + bytes(-len(block) % BLOCK))
        for inode in self._inodes:
            if inode.kind == LINK and not _is_short_link(inode):
                inode.block = out.position // BLOCK
                out.append(inode.target + bytes(-inode.size % BLOCK))
        out.flush()
        return out.position

    def _write_inodes(self, start: int, mapped: int) -> None:
        out = _Output(self._fd, start)
        for inode in self._inodes:
            out.pad_to(start + inode.nid * 32)
            xattrs = _xattr_body(inode.xattrs) if inode.xattrs else b""
            short = _is_short_link(inode)
            address = inode.rdev if inode.kind in (CHAR, BLOCK_DEVICE) else inode.block
            if inode.kind == FILE and inode.sparse is None:
                address = mapped + inode.offset // BLOCK if inode.size else 0
            out.append(
                _INODE.pack(
                    *(1 | (_INLINE if short else _PLAIN) << 1, (len(xattrs) - 12) // 4 + 1 if xattrs else 0),
                    *(inode.mode | _MODES[inode.kind], 0, inode.size, address, inode.nid & 0xFFFFFFFF),
                    *(inode.uid, inode.gid, inode.mtime, inode.mtime_ns, inode.nlink),
                )
                + xattrs
                + (inode.target if short else b"")
            )
        out.flush()


def walk(root: Inode) -> Iterator[tuple[bytes, Inode]]:
    """Every (path, inode) below the root, parents first, names in byte order; a hard-linked inode once for each name."""
    pending = [(b"", root)]
    while pending:
        path, inode = pending.pop()
        if path:
            yield path, inode
        if inode.children:
            prefix = path + b"/" if path else b""
            pending += [(prefix + name, inode.children[name]) for name in sorted(inode.children, reverse=True)]


def folders(root: Inode) -> Iterator[tuple[Inode, Inode]]:
    """Every folder with its parent (the root's is itself), parents first."""
    pending = [(root, root)]
    while pending:
        folder, parent = pending.pop()
        yield folder, parent
        children = folder.children or {}
        pending += [(children[name], folder) for name in sorted(children, reverse=True) if children[name].kind == FOLDER]


def copy_range(source_fd: int, source_at: int, target_fd: int, target_at: int, length: int) -> None:
    """Copy bytes between files inside the kernel. Raises OSError, and EOFError if the source is shorter."""
    while length:
        done = os.copy_file_range(source_fd, target_fd, length, source_at, target_at)
        if not done:
            raise EOFError("the file is shorter than its index says")
        source_at, target_at, length = source_at + done, target_at + done, length - done


def _is_short_link(inode: Inode) -> bool:
    return inode.kind == LINK and 64 + _xattr_bytes(inode.xattrs) + inode.size <= BLOCK


def _xattr_key(name: bytes) -> tuple[int, bytes]:
    if name in _WHOLE_NAMES:
        return _WHOLE_NAMES[name], b""
    for prefix, index in _PREFIXES:
        if name.startswith(prefix):
            return index, name[len(prefix) :]
    raise AssertionError(name)


def _xattr_bytes(xattrs: dict[bytes, bytes] | None) -> int:
    if not xattrs:
        return 0
    return 12 + sum(-(-(4 + len(_xattr_key(name)[1]) + len(value)) // 4) * 4 for name, value in xattrs.items())


def _xattr_body(xattrs: dict[bytes, bytes]) -> bytes:
    out = bytearray(12)
    for name, value in sorted(xattrs.items()):
        index, rest = _xattr_key(name)
        out += _XATTR.pack(len(rest), index, len(value)) + rest + value
        out += bytes(-len(out) % 4)
    return bytes(out)


def _dirent_blocks(entries: list[tuple[bytes, int, int]]) -> Iterator[bytes]:
    """Blocks of a folder: fixed records, then the names; a record's name offset tells where the next name begins."""
    at = 0
    while at < len(entries):
        stop, used = at, 0
        while stop < len(entries) and used + 12 + len(entries[stop][0]) <= BLOCK:
            used += 12 + len(entries[stop][0])
            stop += 1
        name_at, records, names = 12 * (stop - at), [], []
        for name, nid, kind in entries[at:stop]:
            records.append(_DIRENT.pack(nid, name_at, kind, 0))
            names.append(name)
            name_at += len(name)
        yield b"".join(records) + b"".join(names)
        at = stop
