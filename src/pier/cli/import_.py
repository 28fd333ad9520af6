"""`pier import`: an image out of a root file system's tarball."""

import os

from pier.cli.progress import show
from pier.cli.session import Cli, CommandError
from pier.client import references
from pier.client.connection import read_file
from pier.client.session import stream_documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]"
SHORT = "Import the contents from a tarball to create a filesystem image"
ALIASES = ("image import", "import")
FLAGS = (
    ("change", "c", "list", "Apply Dockerfile instruction to the created image"),
    ("message", "m", "string", "Set commit message for imported image"),
    ("platform", "", "string", "Set platform if server is multi-platform capable"),
)
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Import; prints the image's ID."""
    source = args[0]
    body = None
    if source == "-":
        body = read_file(0)
    elif not source.startswith(("http://", "https://")):
        try:
            body = read_file(os.open(source, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            raise CommandError(f"open {source}: {(error.strerror or '').lower()}") from None
    params = [("changes", text) for text in options.many("change")]
    params.append(("fromSrc", source if body is None else "-"))
    if options.text("message"):
        params.append(("message", options.text("message")))
    if options.text("platform"):
        params.append(("platform", options.text("platform")))
    if len(args) > 1:
        try:
            references.check(args[1])
        except ValueError as error:
            raise CommandError(str(error)) from None
        params.append(("repo", args[1]))
    response = cli.client().open("POST", "/images/create", params, raw=body, headers=[("Content-Type", "text/plain")])
    show(cli, stream_documents(response.chunks()), 1)
    return 0
