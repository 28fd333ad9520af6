"""`pier volume trash`: what was removed and can come back."""

from pier.cli.session import Cli
from pier.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS]"
SHORT = "List removed volumes that can come back, or throw them away (Pier only)"
FLAGS = (("empty", "", "bool", "Throw all of them away"),)
ARGS = (0, 0)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """List, or empty; 0."""
    if options.flag("empty"):
        gone = cli.client().post("/pier/volumes/trash/empty")["SpaceReclaimed"]
        cli.out(f"Total reclaimed space: {human_size(gone)}\n")
        return 0
    for one in cli.client().get("/pier/volumes/trash"):
        cli.out(f"{one['Name']}\t{one['RemovedAt']}\t{human_size(one['Size'])}\n")
    return 0
