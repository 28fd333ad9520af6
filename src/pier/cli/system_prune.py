"""`pier system prune`: remove what nothing uses: containers, networks, images, and volumes where told."""

from pier.cli.confirm import confirmed
from pier.cli.formats import filter_value
from pier.cli.pruned import dangling, prune
from pier.cli.session import Cli, CommandError
from pier.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS]"
SHORT = "Remove unused data"
FLAGS = (
    ("all", "a", "bool", "Remove all unused images not just dangling ones"),
    ("filter", "", "filter", 'Provide filter values (e.g. "label=<key>=<value>")'),
    ("force", "f", "bool", "Do not prompt for confirmation"),
    ("volumes", "", "bool", "Prune anonymous volumes"),
)
PARSERS = {"filter": filter_value}
ARGS = (0, 0)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Ask, prune one noun after the other, show; 0."""
    given, every, volumes = options.many("filter"), options.flag("all"), options.flag("volumes")
    if volumes and any(text.partition("=")[0] == "until" for text in given):
        raise CommandError('ERROR: The "until" filter is not supported with "--volumes"')
    if not options.flag("force") and not confirmed(cli, _warning(given, every=every, volumes=volumes)):
        return 0
    nouns = ["Containers", "Networks", *(["Volumes"] if volumes else []), "Images"]
    reclaimed = 0
    for noun in nouns:
        reclaimed += prune(cli, noun, [*given, dangling(every)] if noun == "Images" else given)
    cli.out(f"Total reclaimed space: {human_size(reclaimed)}\n")
    return 0


def _warning(given: list[str], *, every: bool, volumes: bool) -> str:
    lines = ["all stopped containers", "all networks not used by at least one container"]
    lines += ["all anonymous volumes not used by at least one container"] if volumes else []
    lines += ["all images without at least one container associated to them" if every else "all dangling images"]
    text = "WARNING! This will remove:\n" + "".join(f"  - {line}\n" for line in lines)
    if given:
        text += "\n  Items to be pruned will be filtered with:\n" + "".join(f"  - {each}\n" for each in sorted(given))
    return text + "\nAre you sure you want to continue?"
