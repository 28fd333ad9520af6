"""`pier volume update`: for cluster volumes, which the daemon says it does not have."""

from pier.cli.session import Cli, CommandError
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] [VOLUME]"
SHORT = "Update a volume (cluster volumes only)"
FLAGS = (("availability", "", "string", 'Cluster Volume availability ("active", "pause", "drain") (default "active")'),)
DEFAULTS = {"availability": "active"}
ARGS = (1, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Ask the daemon; an error says why it cannot be."""
    name = segment(args[0])
    found = cli.client().get(f"/volumes/{name}")
    if not found.get("ClusterVolume"):
        raise CommandError("can only update cluster volumes")
    return 0
