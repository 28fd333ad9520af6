"""Copying a folder with all that is in it: owners, modes, times, links, attributes, devices.

Nothing is looked up by a path: folders are descriptors, links are copied and never followed. Content is shared where the file
system can (copy_file_range(2) clones on btrfs and xfs).
"""

import errno
import os
import stat
from collections.abc import Callable

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_BYTES = 1 << 30  # in one sendfile(2)
_LABEL = "security.selinux"
MAX_DEPTH = 400  # two descriptors a level


def copy_folder(source_fd: int, target_fd: int, where: str, told: Callable[[str], None] | None = None, labels: bool = True) -> int:
    """Copy everything in a folder, and its own owner, mode and times, to an empty one; returns the number of entries.

    where: its name, for errors. told: is called with each folder's name. labels: SELinux labels are
    copied, too. Raises OSError whose `filename` is the entry.
    """
    umask = os.umask(0)
    copy = _Copy(told, labels)
    try:
        copy.folder(source_fd, target_fd, where, 0)
        return copy.count
    finally:
        os.umask(umask)
        copy.close()


class _Copy:
    def __init__(self, told: Callable[[str], None] | None, labels: bool) -> None:
        self._told = told
        self._labels = labels
        self._links: dict[tuple[int, int], tuple[int, str]] = {}  # (device, inode) -> descriptor of the target's folder, name in it
        self._held: dict[int, int] = {}  # target folder -> a descriptor of it that outlives the walk
        self.count = 0

    def close(self) -> None:
        for fd in self._held.values():
            os.close(fd)

    def folder(self, source_fd: int, target_fd: int, path: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise OSError(errno.ELOOP, f"more than {MAX_DEPTH} folders deep", path)
        if self._told:
            self._told(path)
        with os.scandir(source_fd) as entries:
            for entry in entries:
                name = entry.name
                try:
                    self._entry(source_fd, target_fd, name, path, depth)
                except OSError as error:
                    if not (isinstance(error.filename, str) and error.filename.startswith(f"{path}/")):
                        error.filename = f"{path}/{name}"
                    raise
        own = os.fstat(source_fd)
        _attributes(source_fd, target_fd, self._labels)
        os.fchown(target_fd, own.st_uid, own.st_gid)
        os.fchmod(target_fd, stat.S_IMODE(own.st_mode))
        os.utime(target_fd, ns=(own.st_atime_ns, own.st_mtime_ns))

    def _entry(self, source_fd: int, target_fd: int, name: str, path: str, depth: int) -> None:
        info = os.stat(name, dir_fd=source_fd, follow_symlinks=False)
        self.count += 1
        kind = stat.S_IFMT(info.st_mode)
        if kind == stat.S_IFDIR:
            os.mkdir(name, 0o700, dir_fd=target_fd)
            below_fd = os.open(name, _FOLDER_FLAGS, dir_fd=source_fd)
            try:
                new_fd = os.open(name, _FOLDER_FLAGS, dir_fd=target_fd)
                try:
                    self.folder(below_fd, new_fd, f"{path}/{name}", depth + 1)
                finally:
                    os.close(new_fd)
            finally:
                os.close(below_fd)
            return
        if info.st_nlink > 1 and self._linked(info, target_fd, name):
            return
        if kind == stat.S_IFREG:
            _file(source_fd, target_fd, name, info, self._labels)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source_fd), name, dir_fd=target_fd)
            os.chown(name, info.st_uid, info.st_gid, dir_fd=target_fd, follow_symlinks=False)
            os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target_fd, follow_symlinks=False)
        elif kind != stat.S_IFSOCK:  # a socket is somebody's who does not live in the volume
            os.mknod(name, info.st_mode, info.st_rdev, dir_fd=target_fd)
            os.chown(name, info.st_uid, info.st_gid, dir_fd=target_fd, follow_symlinks=False)
            os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target_fd, follow_symlinks=False)

    def _linked(self, info: os.stat_result, target_fd: int, name: str) -> bool:
        """Whether another name of the file was copied before: then this one is a link to it."""
        key = (info.st_dev, info.st_ino)
        first = self._links.get(key)
        if first is None:
            inode = os.fstat(target_fd).st_ino
            if inode not in self._held:
                self._held[inode] = os.dup(target_fd)
            self._links[key] = (self._held[inode], name)
            return False
        os.link(first[1], name, src_dir_fd=first[0], dst_dir_fd=target_fd, follow_symlinks=False)
        return True


def _file(source_fd: int, target_fd: int, name: str, info: os.stat_result, labels: bool) -> None:
    source = os.open(name, _READ_FLAGS, dir_fd=source_fd)
    try:
        target = os.open(name, _WRITE_FLAGS, stat.S_IMODE(info.st_mode), dir_fd=target_fd)
        try:
            _data(source, target, info.st_size)
            if info.st_uid or info.st_gid:
                os.fchown(target, info.st_uid, info.st_gid)
                if info.st_mode & 0o6000:  # chown(2) took them away
                    os.fchmod(target, stat.S_IMODE(info.st_mode))
            elif info.st_mode & 0o6000:
                os.fchmod(target, stat.S_IMODE(info.st_mode))
            _attributes(source, target, labels)
            os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
        finally:
            os.close(target)
    finally:
        os.close(source)


def _data(source: int, target: int, size: int) -> None:
    """The bytes, holes left out where there are any."""
    clone = os.fstat(source).st_dev == os.fstat(target).st_dev
    done = 0
    while done < size:
        try:
            start = os.lseek(source, done, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # a hole to the end
        end = min(os.lseek(source, start, os.SEEK_HOLE), size)
        os.lseek(target, start, os.SEEK_SET)
        while start < end:
            if clone:
                try:
                    sent = os.copy_file_range(source, target, min(end - start, _MOST_BYTES), start, start)
                except OSError as error:
                    if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                        raise
                    clone = False
                    os.lseek(target, start, os.SEEK_SET)
                    continue
            else:
                sent = os.sendfile(target, source, start, min(end - start, _MOST_BYTES))
            if not sent:
                return
            start += sent
        done = end
    if size:
        os.ftruncate(target, size)


def _attributes(source: int, target: int, labels: bool) -> None:
    """Extended attributes, capabilities and ACLs among them; what the volume's file system does not have is left out."""
    for name in os.listxattr(source):
        if name == _LABEL and not labels:
            continue
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENODATA, errno.EPERM):
                raise
