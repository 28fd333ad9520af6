"""`pier volume export`: the files of a volume as a tar, in a file or on stdout."""

import os

from pier.cli.save import check_output, write_file
from pier.cli.session import Cli, CommandError, write_all
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] VOLUME"
SHORT = "Write the files of a volume to a tar archive (Pier only)"
FLAGS = (
    ("compress", "", "string", "Compress the archive (gzip, zstd)"),
    ("output", "o", "string", "Write to a file, instead of STDOUT"),
)
ARGS = (1, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Export; the file appears when it is whole."""
    params = [("form", options.text("compress"))] if options.text("compress") else []
    path = options.text("output")
    if not path and os.isatty(1):
        raise CommandError("cowardly refusing to write an archive to a terminal. Use the -o flag or redirect")
    if path:
        check_output(path)
    pieces = cli.client().open("GET", f"/pier/volumes/{segment(args[0])}/export", params).chunks()
    if path:
        write_file(path, pieces)
    else:
        for piece in pieces:
            write_all(1, piece)
    return 0
