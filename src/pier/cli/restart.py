"""`pier restart`: stop and start containers."""

from pier.cli.session import Cli, each
from pier.cli.stop import stop_parameters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
SHORT = "Restart one or more containers"
ALIASES = ("container restart", "restart")
FLAGS = (
    ("signal", "s", "string", "Signal to send to the container"),
    ("timeout", "t", "int", "Seconds to wait before killing the container"),
)
HIDDEN = {"time": "timeout"}
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Restart each; prints the names."""
    params = stop_parameters(options)

    def act(name: str) -> str:
        cli.client().post(f"/containers/{name}/restart", params)
        return name

    return each(cli, args, act)
