"""Writing a tree out as files, on folder descriptors only: the fallback where an index cannot be mounted.

The target is a fresh, empty folder that nobody else can reach, and every name in it is made with O_EXCL or its like by
its last part, relative to the descriptor of the folder it stands in. No path is ever put together, no link is ever
followed, and the tree was decided before the first file is made: there is nothing for an archive to act on.
Whiteouts are character devices 0:0 and opaque folders carry trusted.overlay.opaque, as overlayfs wants them.
"""

import os
import stat

from pier.archive.erofs import copy_range
from pier.archive.refusal import BadArchive, shown
from pier.archive.tree import BLOCK_DEVICE, CHAR, FIFO, FILE, FOLDER, LINK, Inode, Tree

_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SMALL_BYTES = 64 << 10
_KINDS = {CHAR: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}
_SHARED = ".shared"


def write_files(tree: Tree, tar_fd: int, root_fd: int) -> int:
    """Make the tree below the empty folder `root_fd`, payloads from the tar; returns how many bytes of disk it takes.

    Raises BadArchive naming the entry that the file system refuses (a name it does not take, an attribute), OSError when
    it fails for reasons of its own (ENOSPC, EIO).
    """
    writer = _Writer(tar_fd, root_fd)
    writer.write(tree.root)
    return writer.disk_bytes


class _Writer:
    def __init__(self, tar_fd: int, root_fd: int) -> None:
        self._tar_fd, self._root_fd = tar_fd, root_fd
        self._shared: dict[int, str] = {}  # id of a hard-linked inode -> its name in the folder of shared files
        self._shared_fd = -1
        self.disk_bytes = 0

    def write(self, root: Inode) -> None:
        path: list[bytes] = []
        # Each level: the folder, its descriptor, the names still to do.
        levels = [(root, os.dup(self._root_fd), sorted(root.children or {}, reverse=True))]
        try:
            while levels:
                folder, fd, names = levels[-1]
                if not names:
                    self._describe(folder, fd, b"/".join(path))
                    os.close(fd)
                    levels.pop()
                    if path:
                        path.pop()
                    continue
                name = names.pop()
                assert folder.children is not None
                inode = folder.children[name]
                try:
                    if inode.kind == FOLDER:
                        os.mkdir(name, 0o700, dir_fd=fd)
                        levels.append((inode, os.open(name, _FOLDER_FLAGS, dir_fd=fd), sorted(inode.children or {}, reverse=True)))
                        path.append(name)
                    elif inode.nlink > 1:
                        self._link_shared(inode, name, fd, b"/".join([*path, name]))
                    else:
                        self._make(inode, os.fsdecode(name), fd, b"/".join([*path, name]))
                except FileExistsError:
                    raise BadArchive(shown(b"/".join([*path, name])), "the file system takes its name for another's") from None
        finally:
            for _, fd, _ in levels:
                os.close(fd)
            self._remove_shared()

    def _make(self, inode: Inode, name: str, fd: int, path: bytes) -> None:
        if inode.kind == FILE:
            file_fd = os.open(name, _FILE_FLAGS, 0o600, dir_fd=fd)
            try:
                self._fill(inode, file_fd)
                self._describe(inode, file_fd, path)
            finally:
                os.close(file_fd)
            return
        if inode.kind == LINK:
            os.symlink(inode.target, os.fsencode(name), dir_fd=fd)
        else:
            major, minor = inode.rdev >> 8 & 0xFFF, (inode.rdev & 0xFF) | (inode.rdev >> 12 & 0xFFF00)
            os.mknod(name, _KINDS[inode.kind] | 0o600, os.makedev(major, minor), dir_fd=fd)
        os.chown(name, inode.uid, inode.gid, dir_fd=fd, follow_symlinks=False)
        if inode.kind != LINK:
            # What was just made is no link, and nobody else can put one in its place.
            os.chmod(name, inode.mode, dir_fd=fd)
        if inode.xattrs:
            os.fchdir(fd)  # the only way to name it without following it and without a path
            for key, value in inode.xattrs.items():
                _attribute(path, key, lambda key=key, value=value: os.setxattr(name, key, value, follow_symlinks=False))
        os.utime(name, ns=_times(inode), dir_fd=fd, follow_symlinks=False)

    def _fill(self, inode: Inode, file_fd: int) -> None:
        if inode.sparse is not None:
            source = inode.offset
            os.ftruncate(file_fd, inode.size)
            for offset, length in inode.sparse:
                copy_range(self._tar_fd, source, file_fd, offset, length)
                source += length
        elif inode.size <= _SMALL_BYTES:
            if inode.size:
                os.write(file_fd, os.pread(self._tar_fd, inode.size, inode.offset))
        else:
            self._copy(inode, file_fd)

    def _copy(self, inode: Inode, file_fd: int) -> None:
        """The payload; holes that the tar has on the disk stay holes."""
        at, end = inode.offset, inode.offset + inode.size
        os.ftruncate(file_fd, inode.size)
        while at < end:
            try:
                start = os.lseek(self._tar_fd, at, os.SEEK_DATA)
            except OSError:
                return  # ENXIO: nothing but a hole up to the end
            stop = min(end, os.lseek(self._tar_fd, start, os.SEEK_HOLE))
            if start < stop:
                copy_range(self._tar_fd, start, file_fd, start - inode.offset, stop - start)
            at = max(start, stop)

    def _describe(self, inode: Inode, fd: int, path: bytes) -> None:
        # In this order: chown clears set-user-ID bits and file capabilities, an ACL changes the mode, and all of it changes the time.
        os.fchown(fd, inode.uid, inode.gid)
        os.fchmod(fd, inode.mode)
        for key, value in (inode.xattrs or {}).items():
            _attribute(path, key, lambda key=key, value=value: os.setxattr(fd, key, value))
        os.utime(fd, ns=_times(inode))
        self.disk_bytes += os.fstat(fd).st_blocks * 512  # file systems count what they have yet to write, too

    def _link_shared(self, inode: Inode, name: bytes, fd: int, path: bytes) -> None:
        """A file with several names is made once aside and linked to each."""
        if self._shared_fd < 0:
            # Beside the files, not among them: the folder around the root is ours too.
            around = os.open("..", _FOLDER_FLAGS, dir_fd=self._root_fd)
            try:
                os.mkdir(_SHARED, 0o700, dir_fd=around)
                self._shared_fd = os.open(_SHARED, _FOLDER_FLAGS, dir_fd=around)
            finally:
                os.close(around)
        aside = self._shared.get(id(inode))
        if aside is None:
            aside = self._shared[id(inode)] = str(len(self._shared))
            self._make(inode, aside, self._shared_fd, path)
        os.link(os.fsencode(aside), name, src_dir_fd=self._shared_fd, dst_dir_fd=fd, follow_symlinks=False)

    def _remove_shared(self) -> None:
        if self._shared_fd < 0:
            return
        for name in self._shared.values():
            os.unlink(name, dir_fd=self._shared_fd)
        os.close(self._shared_fd)
        around = os.open("..", _FOLDER_FLAGS, dir_fd=self._root_fd)
        os.rmdir(_SHARED, dir_fd=around)
        os.close(around)


def _times(inode: Inode) -> tuple[int, int]:
    moment = inode.mtime * 1_000_000_000 + inode.mtime_ns
    return moment, moment


def _attribute(path: bytes, key: bytes, write: object) -> None:
    try:
        write()  # type: ignore[operator]
    except OSError as error:
        raise BadArchive(shown(path), f"attribute {shown(key)} cannot be set on this file system: {error.strerror}") from None
