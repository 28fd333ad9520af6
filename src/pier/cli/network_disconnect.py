"""`pier network disconnect`: take a container out of a network, running or not."""

from pier.cli.session import Cli
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] NETWORK CONTAINER"
SHORT = "Disconnect a container from a network"
FLAGS = (("force", "f", "bool", "Force the container to disconnect from a network"),)
ARGS = (2, 2)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Disconnect; says nothing."""
    cli.client().post(f"/networks/{segment(args[0])}/disconnect", body={"Container": args[1], "Force": options.flag("force")})
    return 0
