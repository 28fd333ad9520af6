"""`pier image inspect`."""

from pier.cli.format_help import FORMAT_HELP
from pier.cli.inspect import show
from pier.cli.platforms import parameter
from pier.cli.session import Cli
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] IMAGE [IMAGE...]"
SHORT = "Display detailed information on one or more images"
FLAGS = (
    ("format", "f", "string", FORMAT_HELP),
    ("platform", "", "string", "Inspect a specific platform of the multi-platform image"),
)
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Show each image; 1 where one was not found."""
    platform = options.text("platform")
    params = [("platform", parameter(platform, ""))] if platform else []
    return show(cli, options.text("format"), args, lambda name: cli.client().raw("GET", f"/images/{segment(name)}/json", params))
