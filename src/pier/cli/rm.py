"""`pier rm`: remove containers."""

from pier.cli.session import Cli, CommandError, each
from pier.client.session import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
SHORT = "Remove one or more containers"
ALIASES = ("container rm", "container remove", "rm")
FLAGS = (
    ("force", "f", "bool", "Force the removal of a running container (uses SIGKILL)"),
    ("link", "l", "bool", "Remove the specified link"),
    ("volumes", "v", "bool", "Remove anonymous volumes associated with the container"),
)
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Remove each; prints the names. With --force a container that is not there is no failure, as in Docker."""
    params = [(short, "1") for name, short in (("force", "force"), ("link", "link"), ("volumes", "v")) if options.flag(name)]
    missing = 0

    def act(name: str) -> "str | None":
        nonlocal missing
        name = name.strip("/")
        if not name:
            raise CommandError("Container name cannot be empty")
        try:
            cli.client().delete(f"/containers/{name}", params)
        except ApiError as error:
            if options.flag("force") and error.status == 404:
                missing += 1
                cli.err(f"{error}\n")
                return None
            raise
        return name

    return each(cli, args, act)
