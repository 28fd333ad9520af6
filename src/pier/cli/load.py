"""`pier load`: images from an archive, a file or stdin."""

import os
import stat

from pier.cli.progress import show
from pier.cli.session import Cli, CommandError
from pier.client.connection import read_file
from pier.client.session import stream_documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS]"
SHORT = "Load an image from a tar archive or STDIN"
ALIASES = ("image load", "load")
FLAGS = (
    ("input", "i", "string", "Read from tar archive file, instead of STDIN"),
    ("platform", "", "string", 'Load only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")'),
    ("quiet", "q", "bool", "Suppress the load output"),
)
ARGS = (0, 0)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Send the archive, show what was loaded; 0."""
    quiet = options.flag("quiet") or not os.isatty(1)
    params = [("quiet", "1" if quiet else "0")]
    if options.text("platform"):
        from pier.cli.platforms import parameter

        params.insert(0, ("platform", parameter(options.text("platform"))))
    fd = _input(options.text("input"))
    response = cli.client().open("POST", "/images/load", params, raw=read_file(fd), headers=[("Content-Type", "application/x-tar")])
    show(cli, stream_documents(response.chunks()), 1)
    return 0


def _input(path: str) -> int:
    """A descriptor of the archive: the file, or stdin where none is named. Raises CommandError for what cannot be one."""
    if not path:
        if os.isatty(0):
            raise CommandError("requested load from stdin, but stdin is empty")
        return 0
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CommandError(f"open {path}: {(error.strerror or '').lower()}") from None
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        raise CommandError(f"read {path}: is a directory")
    return fd
