"""`pier manifest rm`: forget manifest lists in the making; what a registry has stays there."""

from pier.cli import manifest_store
from pier.cli.session import Cli, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "MANIFEST_LIST [MANIFEST_LIST...]"
SHORT = "Delete one or more manifest lists from local storage"
FLAGS = ()
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Forget each; the names of those that are not there at the end, and then 1."""
    store = manifest_store.ManifestStore(cli.config_dir)
    names = [manifest_store.named(text) for text in args]
    missing = [name.full for name in names if not store.remove(name)]
    if missing:
        raise CommandError("\n".join(f"No such manifest: {name}" for name in missing))
    return 0
