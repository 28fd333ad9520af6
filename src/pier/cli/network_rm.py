"""`pier network rm`: remove networks that no container is in."""

from pier.cli.session import Cli, each
from pier.client.session import ApiError, segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "NETWORK [NETWORK...]"
SHORT = "Remove one or more networks"
ALIASES = ("network rm", "network remove")
FLAGS = (("force", "f", "bool", "Do not error if the network does not exist"),)
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Remove each; prints what was given."""

    def act(name: str) -> str:
        try:
            cli.client().delete(f"/networks/{segment(name)}")
        except ApiError as error:
            if not (options.flag("force") and error.status == 404):
                raise
        return name

    return each(cli, args, act)
