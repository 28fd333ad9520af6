"""`pier volume create`: make a volume."""

from pier.cli.session import Cli

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] [VOLUME]"
SHORT = "Create a volume"
FLAGS = (
    ("availability", "", "string", 'Cluster Volume availability ("active", "pause", "drain") (default "active")'),
    ("driver", "d", "string", 'Specify volume driver name (default "local")'),
    ("group", "", "string", "Cluster Volume group (cluster volumes)"),
    ("label", "", "list", "Set metadata for a volume"),
    ("limit-bytes", "", "bytes", "Minimum size of the Cluster Volume in bytes"),
    ("opt", "o", "list", "Set driver specific options"),
    ("required-bytes", "", "bytes", "Maximum size of the Cluster Volume in bytes"),
    ("scope", "", "string", 'Cluster Volume access scope ("single", "multi") (default "single")'),
    ("secret", "", "map", "Cluster Volume secrets"),
    ("sharing", "", "string", 'Cluster Volume access sharing ("none", "readonly", "onewriter", "all") (default "none")'),
    ("topology-preferred", "", "list", "A topology that the Cluster Volume would be preferred in"),
    ("topology-required", "", "list", "A topology that the Cluster Volume must be accessible from"),
    ("type", "", "string", 'Cluster Volume access type ("mount", "block") (default "block")'),
)
LATER = frozenset(flag[0] for flag in FLAGS if flag[0] not in ("driver", "label", "opt"))
ARGS = (0, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Create it; prints its name."""
    body = {
        "Name": args[0] if args else "",
        "Driver": options.text("driver") or "local",
        "DriverOpts": pairs(options.many("opt")) or None,
        "Labels": pairs(options.many("label")) or None,
    }
    cli.out(cli.client().post("/volumes/create", body=body)["Name"] + "\n")
    return 0


def pairs(texts: list[str]) -> dict[str, str]:
    """`key=value` texts as a mapping; without `=` the value is empty."""
    return {key: value for key, _, value in (text.partition("=") for text in texts)}
