"""`pier volume snapshot`: keep the files of a volume, list what was kept, remove it."""

from pier.cli.session import Cli, CommandError
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] VOLUME [SNAPSHOT]"
SHORT = "Keep the files of a volume as they are, list or remove what was kept (Pier only)"
FLAGS = (
    ("list", "l", "bool", "List the snapshots of the volume"),
    ("rm", "", "bool", "Remove the snapshot"),
)
ARGS = (1, 2)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Make one and print its name, or list, or remove; 0."""
    path = f"/pier/volumes/{segment(args[0])}/snapshots"
    if options.flag("list"):
        cli.out("".join(f"{one['Name']}\t{one['CreatedAt']}\n" for one in cli.client().get(path)))
    elif options.flag("rm"):
        if len(args) < 2:
            raise CommandError("--rm needs the name of the snapshot")
        cli.client().delete(f"{path}/{segment(args[1])}")
    else:
        cli.out(cli.client().post(path, [("snapshot", args[1])] if len(args) > 1 else [])["Name"] + "\n")
    return 0
