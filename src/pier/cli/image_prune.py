"""`pier image prune`: remove images that nothing uses."""

from pier.cli.confirm import confirmed
from pier.cli.formats import filter_value
from pier.cli.pruned import dangling, prune
from pier.cli.session import Cli
from pier.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS]"
SHORT = "Remove unused images"
FLAGS = (
    ("all", "a", "bool", "Remove all unused images, not just dangling ones"),
    ("filter", "", "filter", 'Provide filter values (e.g. "until=<timestamp>")'),
    ("force", "f", "bool", "Do not prompt for confirmation"),
)
PARSERS = {"filter": filter_value}
DANGLING = "WARNING! This will remove all dangling images.\nAre you sure you want to continue?"
ALL = "WARNING! This will remove all images without at least one container associated to them.\nAre you sure you want to continue?"
ARGS = (0, 0)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Ask, prune, show; 0."""
    warning = ALL if options.flag("all") else DANGLING
    if not options.flag("force") and not confirmed(cli, warning):
        return 0
    wanted = [*options.many("filter"), dangling(options.flag("all"))]
    cli.out(f"Total reclaimed space: {human_size(prune(cli, 'Images', wanted))}\n")
    return 0
