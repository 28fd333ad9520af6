"""`pier top`: the processes of a container."""

from pier.cli.session import Cli
from pier.cli.tables import layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "CONTAINER [ps OPTIONS]"
SHORT = "Display the running processes of a container"
ALIASES = ("container top", "top")
FLAGS = ()
INTERSPERSED = False
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Show the processes; 0."""
    params = [("ps_args", " ".join(args[1:]))] if len(args) > 1 else []
    found = cli.client().get(f"/containers/{args[0]}/top", params)
    rows = [found["Titles"], *(found["Processes"] or [])]
    # Docker's columns are wider here than elsewhere
    cli.out(layout(rows, 20, 3))
    return 0
