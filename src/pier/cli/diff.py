"""`pier diff`: what a container changed in its files."""

from pier.cli.session import Cli, CommandError
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "CONTAINER"
SHORT = "Inspect changes to files or directories on a container's filesystem"
ALIASES = ("container diff", "diff")
FLAGS = ()
ARGS = (1, 1)
KINDS = ("C", "A", "D")


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """A line for each change: C changed, A added, D deleted."""
    if not args[0].strip():
        raise CommandError("invalid container name or ID: value is empty")
    found = cli.client().get(f"/containers/{segment(args[0])}/changes") or []
    cli.out("".join(f"{KINDS[item['Kind']]} {item['Path']}\n" for item in found))
    return 0
