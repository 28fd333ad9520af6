"""`pier volume create`: make a volume."""

from pier.cli.session import Cli

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] [VOLUME]"
SHORT = "Create a volume"
FLAGS = (
    ("driver", "d", "string", 'Specify volume driver name (default "local")'),
    ("label", "", "list", "Set metadata for a volume"),
    ("opt", "o", "list", "Set driver specific options"),
)
ARGS = (0, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Create it; prints its name."""
    body = {
        "Name": args[0] if args else "",
        "Driver": options.text("driver") or "local",
        "DriverOpts": pairs(options.many("opt")),
        "Labels": pairs(options.many("label")) or None,
    }
    cli.out(cli.client().post("/volumes/create", body=body)["Name"] + "\n")
    return 0


def pairs(texts: list[str]) -> dict[str, str]:
    """`key=value` texts as a mapping; without `=` the value is empty."""
    return {key: value for key, _, value in (text.partition("=") for text in texts)}
