"""`pier volume recover`: what was removed comes back, where daemon.json keeps it (volume-trash-hours)."""

from pier.cli.session import Cli
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "VOLUME [NEW_NAME]"
SHORT = "Give a removed volume back (Pier only)"
FLAGS = ()
ARGS = (1, 2)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Recover it; prints its name."""
    made = cli.client().post(f"/pier/volumes/{segment(args[0])}/recover", [("to", args[1])] if len(args) > 1 else [])
    cli.out(made["Name"] + "\n")
    return 0
