"""`pier rmi`: remove images, or names of images."""

from pier.cli.platforms import parameter
from pier.cli.session import Cli, CommandError
from pier.client.session import ApiError, segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] IMAGE [IMAGE...]"
SHORT = "Remove one or more images"
ALIASES = ("image rm", "image remove", "rmi")
FLAGS = (
    ("force", "f", "bool", "Force removal of the image"),
    ("no-prune", "", "bool", "Do not delete untagged parents"),
    ("platform", "", "strings", 'Remove only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")'),
)
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Remove each; prints what was untagged and deleted. With --force a missing image is no failure."""
    params = [("force", "1")] if options.flag("force") else []
    if options.flag("no-prune"):
        params.append(("noprune", "1"))
    params += [("platforms", parameter(text, "")) for text in options.many("platform")]
    failures = []
    fatal = False
    for name in args:
        try:
            done = cli.client().delete(f"/images/{segment(name)}", params)
        except ApiError as error:
            fatal = fatal or error.status != 404
            failures.append(str(error))
            continue
        for item in done or []:
            cli.out(f"Deleted: {item['Deleted']}\n" if item.get("Deleted") else f"Untagged: {item['Untagged']}\n")
    if failures:
        text = "\n".join(failures)
        if options.flag("force") and not fatal:
            cli.err(text + "\n")
            return 0
        raise CommandError(text)
    return 0
