"""`pier unpause`: let paused containers go on."""

from pier.cli.session import Cli, each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "CONTAINER [CONTAINER...]"
SHORT = "Unpause all processes within one or more containers"
ALIASES = ("container unpause", "unpause")
FLAGS = ()
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Each in turn; prints the names."""

    def act(name: str) -> str:
        cli.client().post(f"/containers/{name}/unpause")
        return name

    return each(cli, args, act)
