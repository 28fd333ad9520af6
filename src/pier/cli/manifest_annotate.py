"""`pier manifest annotate`: say for which platform a manifest of a list is."""

from pier.cli import manifest_store
from pier.cli.session import Cli, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] MANIFEST_LIST MANIFEST"
SHORT = "Add additional information to a local image manifest"
FLAGS = (
    ("arch", "", "string", "Set architecture"),
    ("os", "", "string", "Set operating system"),
    ("os-features", "", "strings", "Set operating system feature"),
    ("os-version", "", "string", "Set operating system version"),
    ("variant", "", "string", "Set architecture variant"),
)
ARGS = (2, 2)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Change the entry; 0."""
    from pier.cli.manifest_list import is_known

    listed = manifest_store.named(args[0], f"annotate: error parsing name for manifest list {args[0]}: ")
    name = manifest_store.named(args[1], f"annotate: error parsing name for manifest {args[1]}: ")
    store = manifest_store.ManifestStore(cli.config_dir)
    entry = store.find(listed, name)
    if entry is None:
        raise CommandError(f"manifest for image {name.full} does not exist in {listed.full}")
    platform = dict(entry["Descriptor"].get("platform") or {})
    for flag, field in (("os", "os"), ("arch", "architecture"), ("variant", "variant"), ("os-version", "os.version")):
        if options.text(flag):
            platform[field] = options.text(flag)
    features = [*(platform.get("os.features") or []), *options.many("os-features")]
    if features:
        platform["os.features"] = list(dict.fromkeys(features))
    if not is_known(str(platform.get("os", "")), str(platform.get("architecture", ""))):
        raise CommandError(f"manifest entry for image has unsupported os/arch combination: {options.text('os')}/{options.text('arch')}")
    order = ("architecture", "os", "os.version", "os.features", "variant")
    entry["Descriptor"]["platform"] = {field: platform[field] for field in order if platform.get(field)}
    store.put(listed, name, entry)
    return 0
