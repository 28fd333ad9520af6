"""`pier tag`: another name for an image."""

from pier.cli.session import Cli, CommandError
from pier.client import references
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]"
SHORT = "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"
ALIASES = ("image tag", "tag")
FLAGS = ()
ARGS = (2, 2)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Tag; 0."""
    try:
        references.check(args[1])
    except ValueError as error:
        raise CommandError(f'Error parsing reference: "{args[1]}" is not a valid repository/tag: {error}') from None
    if "@" in args[1]:
        raise CommandError("refusing to create a tag with a digest reference")
    repository, _, tag = references.with_tag(args[1]).rpartition(":")
    cli.client().post(f"/images/{segment(args[0])}/tag", [("repo", repository), ("tag", tag)])
    return 0
