"""`pier volume import`: a new volume with the files of a tar."""

import os

from pier.cli.session import Cli, CommandError
from pier.client.connection import read_file
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "VOLUME [FILE|-]"
SHORT = "Create a volume with the files of a tar archive (Pier only)"
FLAGS = ()
ARGS = (1, 2)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Send the archive (default: stdin); prints the volume's name."""
    fd = _archive("" if len(args) < 2 or args[1] == "-" else args[1])
    headers = [("Content-Type", "application/x-tar")]
    response = cli.client().open("POST", f"/pier/volumes/{segment(args[0])}/import", raw=read_file(fd), headers=headers)
    for _ in response.chunks():
        pass
    cli.out(args[0] + "\n")
    return 0


def _archive(path: str) -> int:
    """A descriptor of the archive: the file, or stdin where none is named. Raises CommandError."""
    if not path:
        if os.isatty(0):
            raise CommandError("an archive is wanted on stdin, which is a terminal: name a file")
        return 0
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CommandError(f"open {path}: {(error.strerror or '').lower()}") from None
