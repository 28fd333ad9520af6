"""`pier manifest inspect`: a list in the making, or what a registry has under a name."""

from pier.cli import manifest_list, manifest_store
from pier.cli.session import Cli, CommandError
from pier.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS] [MANIFEST_LIST] MANIFEST"
SHORT = "Display an image manifest, or manifest list"
FLAGS = (
    ("insecure", "", "bool", "Allow communication with an insecure registry"),
    ("verbose", "v", "bool", "Output additional info including layers and platform"),
)
ARGS = (1, 2)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Show the document; with --verbose each manifest with its platform and its bytes."""
    name = manifest_store.named(args[-1])
    store = manifest_store.ManifestStore(cli.config_dir)
    verbose = options.flag("verbose")
    if len(args) == 2:
        found = store.find(manifest_store.named(args[0]), name)
        if found is None:
            raise CommandError(f"No such manifest: {name.full}")
        _show(cli, found if verbose else manifest_store.document(found))
        return 0
    local = store.entries(name)
    if local is not None:
        if verbose:
            _show(cli, local)
        else:
            cli.out(manifest_list.encode(local) + b"\n")
        return 0
    from pier.cli.manifest_remote import Manifests

    manifests = Manifests(cli, options.flag("insecure"), [name])
    if verbose:
        _show(cli, manifests.entries(name) if manifests.is_list(name) else manifests.entry(name))
    else:
        document = jsontext.encode(jsontext.decode(manifests.data(name)))
        cli.out(jsontext.indent(document, "   " if manifests.is_list(name) else "\t") + "\n")
    return 0


def _show(cli: Cli, value: "Any") -> None:
    cli.out(jsontext.indent(jsontext.encode(value), "\t") + "\n")
