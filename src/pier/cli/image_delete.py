"""`pier image delete`: a tag or a manifest goes from its registry. What is here stays: that is `rmi`."""

from pier.cli.confirm import confirmed
from pier.cli.remote_values import INSECURE, named
from pier.cli.session import Cli, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] NAME:TAG|NAME@DIGEST"
SHORT = "Delete a tag, or a manifest by its digest, from its registry"
LONG = """Delete a tag, or a manifest by its digest, from its registry.
Images of this machine stay (`pier rmi`). Registries that delete by digest only take every tag of the manifest with it: give them the digest."""
FLAGS = (
    ("force", "f", "bool", "Do not prompt for confirmation"),
    INSECURE,
)
ARGS = (1, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Ask, delete; shows what went."""
    name = named(args[0])
    wanted = name.digest or name.tag
    if not wanted:
        raise CommandError(f"{args[0]}: say what is to go: {name.familiar}:TAG or {name.familiar}@DIGEST")
    warning = f"WARNING! This will delete {args[0]} from the registry {name.domain}, for everybody.\nAre you sure you want to continue?"
    if not options.flag("force") and not confirmed(cli, warning):
        return 0
    from pier.cli import remote

    with remote.repository(cli, name, options, push=True) as where:
        where.delete(wanted)
    cli.out(f"Deleted: {args[0]}\n")
    return 0
