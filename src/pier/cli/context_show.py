"""`pier context show`: the name of the context in use."""

from pier.cli.session import Cli

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = ""
SHORT = "Print the name of the current context"
FLAGS = ()
ARGS = (0, 0)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Print it; 0."""
    cli.out(cli.context_name + "\n")
    return 0
