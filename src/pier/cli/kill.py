"""`pier kill`: send a signal to containers."""

from pier.cli.session import Cli, each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
SHORT = "Kill one or more running containers"
ALIASES = ("container kill", "kill")
FLAGS = (("signal", "s", "string", "Signal to send to the container"),)
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Signal each; prints the names."""
    params = [("signal", options.text("signal"))] if options.text("signal") else []

    def act(name: str) -> str:
        cli.client().post(f"/containers/{name}/kill", params)
        return name

    return each(cli, args, act)
