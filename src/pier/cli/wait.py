"""`pier wait`: until containers end, then their exit codes."""

from pier.cli.session import Cli, each
from pier.client.session import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "CONTAINER [CONTAINER...]"
SHORT = "Block until one or more containers stop, then print their exit codes"
ALIASES = ("container wait", "wait")
FLAGS = ()
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Wait for each in turn; prints the exit codes."""

    def act(name: str) -> str:
        answer = cli.client().post(f"/containers/{name}/wait")
        if (answer.get("Error") or {}).get("Message"):
            raise ApiError(500, answer["Error"]["Message"])
        return str(answer["StatusCode"])

    return each(cli, args, act)
