"""`pier manifest push`: send a manifest list, and what of its manifests the repository has not, to a registry."""

from pier.cli import manifest_list, manifest_store
from pier.cli.session import Cli, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options
    from pier.cli.manifest_store import Entry
    from pier.client.references import Name

USAGE = "[OPTIONS] MANIFEST_LIST"
SHORT = "Push a manifest list to a repository"
FLAGS = (
    ("insecure", "", "bool", "Allow push to an insecure registry"),
    ("purge", "p", "bool", "Remove the local manifest list after push"),
)
ARGS = (1, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Send; prints what was sent, and the digest of the list."""
    listed = manifest_store.named(args[0])
    store = manifest_store.ManifestStore(cli.config_dir)
    entries = store.entries(listed)
    if entries is None:
        raise CommandError(f"No such manifest: {listed.full}")
    sources = check(listed, entries)
    from pier.cli.manifest_remote import Manifests

    manifests = Manifests(cli, options.flag("insecure"), [listed])
    for source, entry in zip(sources, entries, strict=True):
        if source.path != listed.path:
            digest = manifests.send(source, listed, entry)
            cli.out(f"Pushed ref {listed.repository}@{digest} with digest: {digest}\n")
    cli.out(manifests.put(listed, manifest_list.encode(entries), manifest_list.media_type(entries)) + "\n")
    if options.flag("purge"):
        store.remove(listed)
    return 0


def check(listed: "Name", entries: "list[Entry]") -> "list[Name]":
    """The names of the manifests, all of them fit to be pushed. Raises CommandError with Docker's texts."""
    names = []
    for entry in entries:
        name = manifest_store.named(entry["Ref"])
        if name.domain != listed.domain:
            own, other = name.domain or "docker.io", listed.domain or "docker.io"
            raise CommandError(f"cannot use source images from a different registry than the target image: {own} != {other}")
        platform = entry["Descriptor"].get("platform") or {}
        if not platform.get("os") or not platform.get("architecture"):
            raise CommandError(f"manifest {entry['Ref']} must have an OS and Architecture to be pushed to a registry")
        names.append(name)
    return names
