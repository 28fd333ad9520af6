"""`pier volume update`: another limit for a volume; what else Docker's has is for cluster volumes, which the daemon says it does not have."""

from pier.cli.session import Cli, CommandError
from pier.cli.volume_create import pairs
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] [VOLUME]"
SHORT = "Update a volume (cluster volumes; Pier: its limit)"
FLAGS = (
    ("availability", "", "string", 'Cluster Volume availability ("active", "pause", "drain") (default "active")'),
    ("opt", "o", "list", "Change a driver specific option: size=20G, of a volume that has a limit (Pier only)"),
)
DEFAULTS = {"availability": "active"}
ARGS = (1, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Ask the daemon; an error says why it cannot be."""
    name = segment(args[0])
    if wanted := pairs(options.many("opt")):
        if other := [key for key in wanted if key != "size"]:
            raise CommandError(f"the option {other[0]!r} of a volume cannot be changed: only size can")
        cli.out(cli.client().post(f"/pier/volumes/{name}/size", [("to", wanted["size"])])["Name"] + "\n")
        return 0
    found = cli.client().get(f"/volumes/{name}")
    if not found.get("ClusterVolume"):
        raise CommandError("can only update cluster volumes")
    return 0
