"""`pier volume restore`."""

from pier.cli.session import Cli
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "VOLUME SNAPSHOT"
SHORT = "Give a volume the files of one of its snapshots (Pier only)"
FLAGS = ()
ARGS = (2, 2)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Restore it; 0."""
    cli.client().post(f"/pier/volumes/{segment(args[0])}/restore", [("snapshot", args[1])])
    return 0
