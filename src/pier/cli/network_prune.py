"""`pier network prune`: remove networks that no container has."""

from pier.cli.confirm import confirmed
from pier.cli.formats import filter_value
from pier.cli.pruned import prune
from pier.cli.session import Cli

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS]"
SHORT = "Remove all unused networks"
FLAGS = (
    ("filter", "", "filter", 'Provide filter values (e.g. "until=<timestamp>")'),
    ("force", "f", "bool", "Do not prompt for confirmation"),
)
PARSERS = {"filter": filter_value}
WARNING = "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue?"
ARGS = (0, 0)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Ask, prune, show; 0."""
    if not options.flag("force") and not confirmed(cli, WARNING):
        return 0
    prune(cli, "Networks", options.many("filter"))
    return 0
