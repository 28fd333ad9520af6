"""`pier volume clone`."""

from pier.cli.session import Cli
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "VOLUME NEW_VOLUME"
SHORT = "Create a volume with the files of another (Pier only)"
FLAGS = ()
ARGS = (2, 2)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Copy it; prints the new volume's name."""
    cli.out(cli.client().post(f"/pier/volumes/{segment(args[0])}/clone", [("to", args[1])])["Name"] + "\n")
    return 0
