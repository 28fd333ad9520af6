"""`pier image squash`: an image of fewer layers that shows the same."""

from pier.cli.commit import name_parameters
from pier.cli.session import Cli
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] SOURCE_IMAGE[:TAG] [TARGET_IMAGE[:TAG]]"
SHORT = "Create an image with the layers of another made one (Pier only)"
FLAGS = (("from", "", "string", "Lowest layer that goes into the new one: its number from the bottom (1), or its diff ID"),)
ARGS = (1, 2)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Squash; prints the new image's ID."""
    params = name_parameters(args[1]) if len(args) > 1 else []
    if options.text("from"):
        params.append(("from", options.text("from")))
    cli.out(cli.client().post(f"/pier/images/{segment(args[0])}/squash", params)["Id"] + "\n")
    return 0
