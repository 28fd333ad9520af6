"""`pier container inspect`."""

from pier.cli.format_help import FORMAT_HELP
from pier.cli.inspect import show
from pier.cli.session import Cli

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
SHORT = "Display detailed information on one or more containers"
FLAGS = (
    ("format", "f", "string", FORMAT_HELP),
    ("size", "s", "bool", "Display total file sizes"),
)
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Show each container; 1 where one was not found."""
    params = [("size", "1")] if options.flag("size") else []
    return show(cli, options.text("format"), args, lambda name: cli.client().raw("GET", f"/containers/{name}/json", params))
