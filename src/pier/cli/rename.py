"""`pier rename`: give a container another name."""

from pier.cli.session import Cli, CommandError
from pier.client.session import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "CONTAINER NEW_NAME"
SHORT = "Rename a container"
ALIASES = ("container rename", "rename")
FLAGS = ()
ARGS = (2, 2)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Rename; 0."""
    old, new = args[0].strip(), args[1].strip()
    if not old or not new:
        raise CommandError("Error: Neither old nor new names may be empty")
    try:
        cli.client().post(f"/containers/{old}/rename", [("name", new)])
    except ApiError as error:
        raise CommandError(f"{error}\nError: failed to rename container named {old}") from None
    return 0
