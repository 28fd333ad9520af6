"""`pier logs`: what a container wrote."""

from pier.cli.session import Cli, CommandError
from pier.cli.streams import DaemonStreamError, copy_frames
from pier.cli.units import parse_moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] CONTAINER"
SHORT = "Fetch the logs of a container"
ALIASES = ("container logs", "logs")
FLAGS = (
    ("details", "", "bool", "Show extra details provided to logs"),
    ("follow", "f", "bool", "Follow log output"),
    ("since", "", "string", 'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)'),
    ("tail", "n", "string", 'Number of lines to show from the end of the logs (default "all")'),
    ("timestamps", "t", "bool", "Show timestamps"),
    ("until", "", "string", 'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)'),
)
DEFAULTS = {"tail": "all"}
ARGS = (1, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Copy the log to stdout and stderr; 0."""
    client = cli.client()
    container = client.get(f"/containers/{args[0]}/json")
    params = []
    if options.flag("details"):
        params.append(("details", "1"))
    if options.flag("follow"):
        params.append(("follow", "1"))
    for name in ("since", "until"):
        if options.text(name):
            try:
                params.append((name, parse_moment(options.text(name))))
            except ValueError as error:
                raise CommandError(f'invalid value for "{name}": {error}') from None
    params += [("stderr", "1"), ("stdout", "1"), ("tail", options.text("tail"))]
    if options.flag("timestamps"):
        params.append(("timestamps", "1"))
    response = client.open("GET", f"/containers/{container['Id']}/logs", params)
    try:
        copy_frames(response, raw=bool(container["Config"]["Tty"]))
    except DaemonStreamError as error:
        raise CommandError(str(error)) from None
    return 0
