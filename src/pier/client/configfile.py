"""The files of the configuration folder, which Docker's own client shares.

    <config>/config.json     settings; may be a symbolic link. What Pier does not know in it stays as it is
    <config>/*.pier-new      a file being written; a leftover of a killed writer is replaced by the next

True at every instant: a reader sees a file's old or new content, whole. Writers take turns by a lock on the folder itself.
"""

import fcntl
import os

from pier.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class ConfigError(Exception):
    """A file of the configuration folder cannot be read or written; the text names it and says why."""


class Lock:
    """The folder's lock for a `with` block; the folder is made where it is missing. Raises ConfigError."""

    def __init__(self, config_dir: str) -> None:
        self._config_dir = config_dir
        self._fd = -1

    def __enter__(self) -> "Lock":
        try:
            os.makedirs(self._config_dir, mode=0o700, exist_ok=True)
            self._fd = os.open(self._config_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except OSError as error:
            self.__exit__()
            raise ConfigError(f"{self._config_dir}: {error.strerror}") from None
        return self

    def __exit__(self, *_: object) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def read(config_dir: str) -> "dict[str, Any]":
    """config.json, empty where there is none. Raises ConfigError where it cannot be read as an object."""
    path = f"{config_dir}/config.json"
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    try:
        found = jsontext.decode(data) if data.strip() else {}
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: it is not an object")
    return found


def change(config_dir: str, edit: "Callable[[dict[str, Any]], bool]", private: bool = False) -> bool:
    """Have `edit` change config.json's content in place, and write it where it returns True; whether it did.

    private: what is written holds secrets, so that nobody but the owner may read the file from now on.
    Raises ConfigError, also for a file that is there and is no JSON: it is not overwritten.
    """
    path = f"{config_dir}/config.json"
    with Lock(config_dir):
        config = read(config_dir)
        if not edit(config):
            return False
        target = os.path.realpath(path)
        try:
            mode = os.stat(target).st_mode & (0o600 if private else 0o777)
        except OSError:
            mode = 0o600
        write_whole(target, jsontext.indent(jsontext.encode(config), "\t").encode(), mode)
    return True


def write_whole(path: str, data: bytes, mode: int) -> None:
    """Replace a file by a new one beside it, durably. The caller has the folder's Lock. Raises ConfigError."""
    temporary = f"{path}.pier-new"
    try:
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            _keep_owner(fd, path)
            os.fchmod(fd, mode)  # whatever the umask is
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
        sync_folder(os.path.dirname(path))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def _keep_owner(fd: int, path: str) -> None:
    """Leave a file to whom it belongs (`sudo pier login` with the user's HOME); where that is not ours to do, it is the writer's."""
    try:
        before = os.stat(path)
        if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(fd, before.st_uid, before.st_gid)
    except OSError:
        pass


def sync_folder(path: str) -> None:
    """Make what was renamed or removed in a folder last. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
