"""`pier restart`: stop and start containers."""

from pier.cli import stop
from pier.cli.session import Cli, each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
SHORT = "Restart one or more containers"
ALIASES = ("container restart", "restart")
FLAGS = stop.FLAGS
HIDDEN = stop.HIDDEN
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Restart each; prints the names."""
    params = stop.stop_parameters(options)

    def act(name: str) -> str:
        cli.client().post(f"/containers/{name}/restart", params)
        return name

    return each(cli, args, act)
