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

    def shown(size: int) -> str:
        return str(size) if options.flag("bytes") else human_size(size)

    def show(name: str) -> str:
        found = cli.client().get(f"/pier/volumes/{segment(name)}/size")
        most = f" of {shown(found['Limit'])}" if found.get("Limit") else ""
        return f"{name} {'N/A' if found['Size'] < 0 else shown(found['Size'])}{most}"

    return each(cli, args, show)
