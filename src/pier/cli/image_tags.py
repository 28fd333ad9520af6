"""`pier image tags`: the tags that a repository has on its registry."""

from pier.cli.session import Cli, CommandError
from pier.client.references import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] NAME"
SHORT = "List the tags of a repository on its registry"
FLAGS = (
    ("insecure", "", "bool", "Allow a registry without TLS, or with a certificate that nobody vouches for"),
    ("limit", "", "int", "Max number of tags (default: all)"),
)
ARGS = (1, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """A line for each, in the registry's order."""
    try:
        name = parse(args[0])
    except ValueError as error:
        raise CommandError(str(error)) from None
    if name.tag or name.digest:
        raise CommandError(f"{args[0]}: give the repository alone: {name.repository}")
    if options.number("limit") < 0:
        raise CommandError(f"--limit {options.number('limit')}: it is a number of tags")
    from pier.cli import remote

    with remote.errors():
        client = remote.registries((name.domain,) if options.flag("insecure") else ())
        found = remote.open_repository(cli, client, name).tags(options.number("limit") or None)
    cli.out("".join(f"{tag}\n" for tag in found))
    return 0
