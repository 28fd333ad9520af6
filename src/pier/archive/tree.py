"""What the entries of a layer add up to: one pure decision for both kinds of layer, index and unpacked folder.

The rules (what Docker's overlay2 driver does, made strict):
- a name is relative to the layer's root, with or without `/` or `./` in front; a part `..` is refused;
- missing parents are folders 0755 root:root of 1970; links among the parents are followed inside the layer;
- the last entry of a name wins; a folder over a folder keeps its content, anything else replaces it;
- `.wh.NAME` hides NAME of the layers below (character device 0:0) and never what this layer has itself: a folder of
  that name becomes opaque (trusted.overlay.opaque=y); `.wh..wh..opq` makes its folder opaque; other `.wh..wh.*` are
  aufs' own and skipped;
- a hard link names a file of the same layer; overlay's own attributes cannot come from a tar.
"""

from pier.archive.limits import DEFAULT, Limits
from pier.archive.refusal import BadArchive, shown
from pier.archive.tarnumbers import SparseMap
from pier.archive.tarstream import Entry

FILE, FOLDER, CHAR, BLOCK_DEVICE, FIFO, LINK = 1, 2, 3, 4, 5, 7  # EROFS file types (also d_type order of dirents)
OPAQUE = b"trusted.overlay.opaque"
ACL_ACCESS, ACL_DEFAULT = b"system.posix_acl_access", b"system.posix_acl_default"
_TYPES = {"0": FILE, "2": LINK, "3": CHAR, "4": BLOCK_DEVICE, "5": FOLDER, "6": FIFO}
_MAX_TIME = (1 << 63) // 1_000_000_000  # Docker: what does not fit 64-bit nanoseconds after 1970 becomes 1970
_MAX_ID = (1 << 32) - 2  # 2**32-1 is chown(2)'s "leave it"
_LINK_BYTES, _PART_BYTES, _FOLLOWED = 4095, 255, 40
_XATTR_NAME_BYTES, _XATTR_LIST_BYTES = 255, 65536
_CAPABILITY_SIZES = {0x01000000: 12, 0x02000000: 20, 0x03000000: 24}  # linux/capability.h: revision -> size


class Inode:
    """A file of the layer. `offset` is where its payload begins in the tar; `children` is a folder's content, else None.

    `tar` says whose tar, where there are several.
    """

    __slots__ = (
        *("block", "children", "gid", "kind", "mode", "mtime", "mtime_ns", "nid"),
        *("nlink", "offset", "rdev", "size", "sparse", "tar", "target", "uid", "xattrs"),
    )

    def __init__(self, kind: int, mode: int = 0o755, uid: int = 0, gid: int = 0, mtime: int = 0, mtime_ns: int = 0) -> None:
        self.kind, self.mode, self.uid, self.gid, self.mtime, self.mtime_ns = kind, mode, uid, gid, mtime, mtime_ns
        self.children: dict[bytes, Inode] | None = {} if kind == FOLDER else None
        self.xattrs: dict[bytes, bytes] | None = None
        self.sparse: SparseMap | None = None
        self.target = b""
        self.size = self.offset = self.rdev = self.nid = self.block = self.tar = 0
        self.nlink = 1

    @property
    def is_whiteout(self) -> bool:
        return self.kind == CHAR and not self.rdev

    def set_xattr(self, name: bytes, value: bytes) -> None:
        self.xattrs = {**(self.xattrs or {}), name: value}


class Tree:
    """The sum of the entries given to `add`. `dropped` counts attributes that no layer may carry, by name; `tar` is its inodes'.

    plain: not of a layer: `.wh.` means nothing."""

    def __init__(self, limits: Limits = DEFAULT, tar: int = 0, plain: bool = False) -> None:
        self._plain = plain
        self.root = Inode(FOLDER)
        self.dropped: dict[bytes, int] = {}
        self._limits, self._tar = limits, tar
        self._folders: dict[bytes, Inode] = {}  # name as written -> folder, while no link is on the way
        self._same: dict[object, object] = {}  # equal attribute sets are kept once
        self._sparse_bytes = 0
        self.files_bytes = 0  # what its files hold, as `docker images` counts

    def add(self, entry: Entry) -> None:
        """Apply one entry. Raises BadArchive naming it."""
        try:
            self._add(entry)
        except ValueError as error:
            raise BadArchive(shown(entry.name), str(error)) from None

    def _add(self, entry: Entry) -> None:
        head, base = self._split(entry.name)
        if not self._plain and (base.startswith(b".wh.") or b"/.wh." in head or head.startswith(b".wh.")):
            if (base.startswith(b".wh..wh.") and base != b".wh..wh..opq") or head.startswith(b".wh..wh.") or b"/.wh..wh." in head:
                return
            if base.startswith(b".wh."):
                self._whiteout(self._folder(head), base[4:])
                return
        if not base:
            if entry.kind != "5":
                raise ValueError("the layer's root can only be a folder")
            self._describe(self.root, entry)
            return
        parent = self._folders.get(head)
        if parent is None:
            parent = self._folder(head)
        assert parent.children is not None
        existing = parent.children.get(base)
        if entry.kind == "5":
            self._add_folder(parent, base, existing, entry)
            return
        inode = self._link_target(entry, existing) if entry.kind == "1" else self._new(entry)
        if existing is not None:
            self._forget(existing)
        parent.children[base] = inode

    def _split(self, name: bytes) -> tuple[bytes, bytes]:
        """The folder and the last part of a name, without empty parts and `.`."""
        limits = self._limits
        if len(name) > limits.name_bytes:
            raise ValueError(f"a name of {len(name)} bytes, the limit is {limits.name_bytes}")
        if b"\0" in name:
            raise ValueError("a NUL in the name")
        plain = name.strip(b"/")
        if plain.startswith(b"./"):
            plain = plain[2:]
        if b"//" in plain or b"./" in plain or b"/." in plain or plain in (b".", b"..") or plain.startswith(b"/"):
            parts = [part for part in plain.split(b"/") if part not in (b"", b".")]
            if b".." in parts:
                raise ValueError("`..` in a name leads out of the layer")
            plain = b"/".join(parts)
        if plain.count(b"/") >= limits.depth:
            raise ValueError(f"more than {limits.depth} folders in each other: the limit")
        head, _, base = plain.rpartition(b"/")
        if len(base) > _PART_BYTES:
            raise ValueError(f"a part of the name has {len(base)} bytes, file systems take {_PART_BYTES}")
        return head, base

    def _folder(self, path: bytes) -> Inode:
        """The folder of a normal path, made where it is missing; links on the way are followed inside the layer."""
        if not path:
            return self.root
        known = self._folders.get(path)
        if known is not None:
            return known
        way, parts, followed, plain = [self.root], path.split(b"/")[::-1], 0, True
        while parts:
            part = parts.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                del way[max(1, len(way) - 1) :]
                continue
            children = way[-1].children
            assert children is not None
            child = children.get(part)
            if child is None or child.is_whiteout:
                if not plain:
                    raise ValueError("a link among its parents leads to nothing in the layer")
                if len(part) > _PART_BYTES:
                    raise ValueError(f"a part of the name has {len(part)} bytes, file systems take {_PART_BYTES}")
                opaque, child = child is not None, Inode(FOLDER)
                children[part] = child
                if opaque:
                    child.set_xattr(OPAQUE, b"y")
            if child.kind == LINK:
                followed, plain = followed + 1, False
                if followed > _FOLLOWED:
                    raise ValueError("too many links among its parents")
                if child.target.startswith(b"/"):
                    del way[1:]
                parts += child.target.split(b"/")[::-1]
                continue
            if child.kind != FOLDER:
                raise ValueError(f"its parent {shown(part)!r} is not a folder")
            way.append(child)
        if plain:
            self._folders[path] = way[-1]
        return way[-1]

    def _whiteout(self, parent: Inode, name: bytes) -> None:
        if name == b".wh..opq":
            parent.set_xattr(OPAQUE, b"y")
            return
        if name in (b"", b".", b".."):
            raise ValueError("a whiteout of nothing, or of the folder's parent")
        assert parent.children is not None
        existing = parent.children.get(name)
        if existing is None:
            parent.children[name] = Inode(CHAR, 0)
        elif existing.kind == FOLDER:
            existing.set_xattr(OPAQUE, b"y")

    def _add_folder(self, parent: Inode, base: bytes, existing: Inode | None, entry: Entry) -> None:
        if existing is not None and existing.kind == FOLDER:
            self._describe(existing, entry)
            return
        folder = Inode(FOLDER)
        if existing is not None:
            if existing.is_whiteout:
                folder.set_xattr(OPAQUE, b"y")
            self._forget(existing)
        self._describe(folder, entry)
        assert parent.children is not None
        parent.children[base] = folder

    def _forget(self, inode: Inode) -> None:
        """A name of `inode` goes. A folder takes its content along, a link or folder the names that led through it."""
        if inode.kind in (FOLDER, LINK):
            self._folders.clear()
        pending = [inode]
        while pending:
            gone = pending.pop()
            if gone.children is not None:
                pending += gone.children.values()
            else:
                gone.nlink -= 1

    def _link_target(self, entry: Entry, existing: Inode | None) -> Inode:
        try:
            head, base = self._split(entry.link)
        except ValueError as error:
            raise ValueError(f"hard link to {shown(entry.link)!r}: {error}") from None
        folder = self._peek_folder(head)
        target = folder.children.get(base) if folder is not None and folder.children is not None else None
        if target is None or target.is_whiteout:
            raise ValueError(f"hard link to {shown(entry.link)!r}, which is not in this layer before it")
        if target.kind == FOLDER:
            raise ValueError(f"hard link to the folder {shown(entry.link)!r}")
        if target is existing and target.nlink == 1:
            raise ValueError("hard link to itself")
        target.nlink += 1
        return target

    def _peek_folder(self, path: bytes) -> Inode | None:
        folder = self.root
        for part in path.split(b"/") if path else ():
            assert folder.children is not None
            child = folder.children.get(part)
            if child is None:
                return None
            if child.kind == LINK:
                return self._folder(path)
            if child.kind != FOLDER:
                return None
            folder = child
        return folder

    def _new(self, entry: Entry) -> Inode:
        kind = _TYPES[entry.kind]
        inode = Inode(kind)
        if kind == FILE:
            inode.size, inode.offset, inode.sparse, inode.tar = entry.size, entry.offset, entry.sparse, self._tar
            self.files_bytes += entry.size
            if entry.sparse is not None:
                self._sparse_bytes += entry.size
                if self._sparse_bytes > self._limits.sparse_bytes:
                    raise ValueError(f"sparse files of more than {self._limits.sparse_bytes} bytes: the limit")
        elif kind == LINK:
            if not entry.link or len(entry.link) > _LINK_BYTES or b"\0" in entry.link:
                raise ValueError("a link's target must have 1 to 4095 bytes, none of them NUL")
            inode.target, inode.size = entry.link, len(entry.link)
        elif kind in (CHAR, BLOCK_DEVICE):
            if entry.major > 0xFFF or entry.minor > 0xFFFFF:
                raise ValueError(f"device {entry.major}:{entry.minor}: Linux has 12 and 20 bits for it")
            inode.rdev = (entry.minor & 0xFF) | (entry.major << 8) | ((entry.minor & ~0xFF) << 12)
        self._describe(inode, entry)
        return inode

    def _describe(self, inode: Inode, entry: Entry) -> None:
        if entry.uid > _MAX_ID or entry.gid > _MAX_ID:
            raise ValueError(f"owner {entry.uid}:{entry.gid}: Linux has 32 bits for it")
        inode.mode = 0o777 if inode.kind == LINK else 0 if inode.is_whiteout and not self._plain else entry.mode & 0o7777
        share = self._same.setdefault
        inode.uid, inode.gid = share(entry.uid, entry.uid), share(entry.gid, entry.gid)  # type: ignore[assignment]
        if 0 <= entry.mtime <= _MAX_TIME:
            inode.mtime, inode.mtime_ns = share(entry.mtime, entry.mtime), entry.mtime_ns  # type: ignore[assignment]
        else:
            inode.mtime = inode.mtime_ns = 0
        if inode.kind == FOLDER:
            opaque = (inode.xattrs or {}).get(OPAQUE)
            inode.xattrs = {OPAQUE: opaque} if opaque else None
        if entry.xattrs:
            kept = self._kept_xattrs(inode.kind, entry.xattrs)
            if kept or inode.xattrs:
                inode.xattrs = {**kept, **(inode.xattrs or {})} or None

    def _kept_xattrs(self, kind: int, given: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """What a file of this kind can carry on Linux: user.* on files and folders, ACLs not on links; the rest is dropped and counted."""
        kept = {}
        for name, value in given.items():
            prefix = name.split(b".", 1)[0]
            if name in (ACL_ACCESS, ACL_DEFAULT):
                fits = kind != LINK if name == ACL_ACCESS else kind == FOLDER
            elif name.startswith((b"trusted.overlay.", b"user.overlay.")):
                fits = False
            else:
                fits = prefix in (b"trusted", b"security") or (prefix == b"user" and kind in (FILE, FOLDER))
            if not fits or name.endswith(b"."):
                self.dropped[name] = self.dropped.get(name, 0) + 1
                continue
            if len(name) > _XATTR_NAME_BYTES or b"\0" in name:
                raise ValueError(f"attribute {shown(name)!r}: a name has at most {_XATTR_NAME_BYTES} bytes, none of them NUL")
            if name == b"security.capability" and _CAPABILITY_SIZES.get(int.from_bytes(value[:4], "little") & 0xFF000000) != len(value):
                raise ValueError("security.capability is not what Linux knows as file capabilities")
            kept[name] = value
        if sum(map(len, kept)) + len(kept) + sum(map(len, kept.values())) > _XATTR_LIST_BYTES:
            raise ValueError(f"extended attributes of more than {_XATTR_LIST_BYTES} bytes")
        return kept
