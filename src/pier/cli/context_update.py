"""`pier context update`: change what a context says."""

from pier.cli.context_values import LONG_ENDPOINT, endpoint, pairs, save
from pier.cli.session import Cli, CommandError
from pier.client import contexts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] CONTEXT"
SHORT = "Update a context"
LONG = "Update a context\n\n" + LONG_ENDPOINT.replace("{verb}", "update")
FLAGS = (
    ("description", "", "string", "Description of the context"),
    ("docker", "", "stringToString", "set the docker endpoint (default [])"),
)
ARGS = (1, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Store the change; prints the name."""
    name = args[0]
    try:
        contexts.check_name(name)
        found = contexts.load(cli.config_dir, name)
    except contexts.ContextError as error:
        raise CommandError(str(error)) from None
    if options.text("description"):
        found.setdefault("Metadata", {})["Description"] = options.text("description")
    values = pairs(options.many("docker"))
    if values:
        found.setdefault("Endpoints", {})["docker"] = endpoint(cli, values)
    save(cli, name, found)
    cli.out(name + "\n")
    cli.err(f'Successfully updated context "{name}"\n')
    return 0
