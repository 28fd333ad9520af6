"""`pier volume rm`: remove volumes that no container has."""

from pier.cli.session import Cli, each
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] VOLUME [VOLUME...]"
SHORT = "Remove one or more volumes"
DESCRIPTION = "Remove one or more volumes. You cannot remove a volume that is in use by a container."
ALIASES = ("volume rm", "volume remove")
FLAGS = (("force", "f", "bool", "Force the removal of one or more volumes"),)
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Remove each; prints the names."""
    params = [("force", "1")] if options.flag("force") else []

    def act(name: str) -> str:
        cli.client().delete(f"/volumes/{segment(name)}", params)
        return name

    return each(cli, args, act)
