"""`pier container prune`: remove all containers that do not run."""

from pier.cli.confirm import confirmed
from pier.cli.formats import filter_value
from pier.cli.pruned import prune
from pier.cli.session import Cli
from pier.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS]"
SHORT = "Remove all stopped containers"
FLAGS = (
    ("filter", "", "filter", 'Provide filter values (e.g. "until=<timestamp>")'),
    ("force", "f", "bool", "Do not prompt for confirmation"),
)
PARSERS = {"filter": filter_value}
WARNING = "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?"
ARGS = (0, 0)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Ask, prune, show; 0."""
    if not options.flag("force") and not confirmed(cli, WARNING):
        return 0
    cli.out(f"Total reclaimed space: {human_size(prune(cli, 'Containers', options.many('filter')))}\n")
    return 0
