"""`pier volume rename`."""

from pier.cli.session import Cli
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "VOLUME NEW_NAME"
SHORT = "Give a volume another name (Pier only)"
FLAGS = ()
ARGS = (2, 2)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Rename it; 0."""
    cli.client().post(f"/pier/volumes/{segment(args[0])}/rename", [("to", args[1])])
    return 0
