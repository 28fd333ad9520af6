"""`pier image tags`: the tags that a repository has on its registry."""

from pier.cli.remote_values import INSECURE, named
from pier.cli.session import Cli, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] NAME"
SHORT = "List the tags of a repository on its registry"
FLAGS = (
    INSECURE,
    ("limit", "", "int", "Max number of tags (default: all)"),
)
ARGS = (1, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """A line for each, in the registry's order."""
    name = named(args[0])
    if name.tag or name.digest:
        raise CommandError(f"{args[0]}: give the repository alone: {name.repository}")
    if options.number("limit") < 0:
        raise CommandError(f"--limit {options.number('limit')}: it is a number of tags")
    from pier.cli import remote

    with remote.repository(cli, name, options) as where:
        found = where.tags(options.number("limit") or None)
    cli.out("".join(f"{tag}\n" for tag in found))
    return 0
