"""`pier manifest create`: begin a manifest list, or add to one."""

from pier.cli import manifest_store
from pier.cli.session import Cli, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "MANIFEST_LIST MANIFEST [MANIFEST...]"
SHORT = "Create a local manifest list for annotating and pushing to a registry"
FLAGS = (
    ("amend", "a", "bool", "Amend an existing manifest list"),
    ("insecure", "", "bool", "Allow communication with an insecure registry"),
)
ARGS = (2, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Fetch every manifest, then write the list; prints its name. Where one is missing nothing is written."""
    listed = manifest_store.named(args[0], f"error parsing name for manifest list {args[0]}: ")
    names = [manifest_store.named(text) for text in args[1:]]
    store = manifest_store.ManifestStore(cli.config_dir)
    if not options.flag("amend") and store.entries(listed):
        raise CommandError("refusing to amend an existing manifest list with no --amend flag")
    from pier.cli.manifest_remote import Manifests

    manifests = Manifests(cli, options.flag("insecure"), names)
    found = [store.find(listed, name) or manifests.entry(name) for name in names]
    for name, entry in zip(names, found, strict=True):
        store.put(listed, name, entry)
    cli.out(f"Created manifest list {listed.full}\n")
    return 0
