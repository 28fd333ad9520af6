"""`pier save`: images as an archive, in a file or on stdout."""

import errno
import os
import stat

from pier.cli.session import Cli, CommandError, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pier.cli.flags import Options

USAGE = "[OPTIONS] IMAGE [IMAGE...]"
SHORT = "Save one or more images to a tar archive (streamed to STDOUT by default)"
ALIASES = ("image save", "save")
FLAGS = (
    ("output", "o", "string", "Write to a file, instead of STDOUT"),
    ("platform", "", "string", 'Save only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")'),
)
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Save; the file appears when it is whole."""
    params = [("names", name) for name in args]
    if options.text("platform"):
        from pier.cli.platforms import parameter

        params.append(("platform", parameter(options.text("platform"))))
    path = options.text("output")
    if not path:
        if os.isatty(1):
            raise CommandError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        for piece in cli.client().open("GET", "/images/get", params).chunks():
            write_all(1, piece)
        return 0
    check_output(path)
    write_file(path, cli.client().open("GET", "/images/get", params).chunks())
    return 0


def check_output(path: str) -> None:
    """Refuse what is no place for an archive, before anything is asked for. Raises CommandError with Docker's texts."""
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise CommandError(f"failed to save image: invalid output path: stat {folder}: no such file or directory")
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise CommandError(f"failed to save image: invalid output path: stat {path}: {(error.strerror or '').lower()}") from None
    for kind, words in (
        (stat.S_ISDIR, "to a directory"),
        (stat.S_ISLNK, "to a symbolic link directly"),
        (stat.S_ISCHR, "to a character device file"),
        (stat.S_ISBLK, "to a block device file"),
        (stat.S_ISFIFO, "to a named pipe"),
        (stat.S_ISSOCK, "to a socket"),
    ):
        if kind(mode):
            raise CommandError(f"failed to save image: cannot write {words}")


def write_file(path: str, pieces: "Iterable[bytes]") -> None:
    """Put a private file at `path` when it is whole. Raises CommandError.

    Until then it has no name, so that nothing is left whatever ends the program; a file system without such files gets a name beside it. It is
    written out when the kernel likes, as with every copy of a file: waiting for the disk would take as long again.
    """
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        fd, named = _new_file(os.path.dirname(path) or ".", temporary)
        try:
            for piece in pieces:
                write_all(fd, piece)
            if not named:
                _give_name(fd, temporary)
                named = True
            os.rename(temporary, path)
            named = False
        finally:
            os.close(fd)
            if named:
                os.unlink(temporary)
    except OSError as error:
        raise CommandError(f"failed to save image: write {path}: {(error.strerror or '').lower()}") from None


def _give_name(fd: int, name: str) -> None:
    """linkat(2) of a file without a name, which needs no right but by way of /proc. With a descriptor of the folder Python follows the link."""
    folder = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(str(fd), name, src_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _new_file(folder: str, name: str) -> tuple[int, bool]:
    """A new file for writing, and whether it has its name already."""
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600), False
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), True
