"""`pier volume prune`: remove volumes that no container has."""

from pier.cli.confirm import confirmed
from pier.cli.formats import filter_value
from pier.cli.pruned import prune
from pier.cli.session import Cli
from pier.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS]"
SHORT = "Remove unused local volumes"
FLAGS = (
    ("all", "a", "bool", "Remove all unused volumes, not just anonymous ones"),
    ("filter", "", "filter", 'Provide filter values (e.g. "label=<label>")'),
    ("force", "f", "bool", "Do not prompt for confirmation"),
)
PARSERS = {"filter": filter_value}
ANONYMOUS = "WARNING! This will remove anonymous local volumes not used by at least one container.\nAre you sure you want to continue?"
ALL = "WARNING! This will remove all local volumes not used by at least one container.\nAre you sure you want to continue?"
ARGS = (0, 0)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Ask, prune, show; 0."""
    if not options.flag("force") and not confirmed(cli, ALL if options.flag("all") else ANONYMOUS):
        return 0
    wanted = [*options.many("filter"), *(["all=true"] if options.flag("all") else [])]
    cli.out(f"Total reclaimed space: {human_size(prune(cli, 'Volumes', wanted))}\n")
    return 0
