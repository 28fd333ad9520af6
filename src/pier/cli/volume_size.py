"""`pier volume size`."""

from pier.cli.session import Cli, each
from pier.cli.units import human_size
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "VOLUME [VOLUME...]"
SHORT = "Show what volumes take on the disk (Pier only)"
FLAGS = (("bytes", "b", "bool", "Show bytes"),)
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Show each; 1 where one is not there."""

    def show(name: str) -> str:
        taken = cli.client().get(f"/pier/volumes/{segment(name)}/size")["Size"]
        return f"{name} {'N/A' if taken < 0 else taken if options.flag('bytes') else human_size(taken)}"

    return each(cli, args, show)
