"""`pier network inspect`."""

from pier.cli.format_help import FORMAT_HELP
from pier.cli.inspect import show
from pier.cli.session import Cli
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] NETWORK [NETWORK...]"
SHORT = "Display detailed information on one or more networks"
FLAGS = (("format", "f", "string", FORMAT_HELP), ("verbose", "v", "bool", "Verbose output for diagnostics"))
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Show each network; 1 where one was not found."""
    params = [("verbose", "true")] if options.flag("verbose") else []
    return show(cli, options.text("format"), args, lambda name: cli.client().raw("GET", f"/networks/{segment(name)}", params))
