"""`pier context create`: name a daemon."""

from pier.cli.context_values import LONG_ENDPOINT, description_of, endpoint, pairs, save
from pier.cli.session import Cli, CommandError
from pier.client import contexts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS] CONTEXT"
SHORT = "Create a context"
LONG = "Create a context\n\n" + LONG_ENDPOINT.replace("{verb}", "create")
FLAGS = (
    ("description", "", "string", "Description of the context"),
    ("docker", "", "stringToString", "set the docker endpoint (default [])"),
    ("from", "", "string", "create context from a named context"),
)
ARGS = (1, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Store it; prints its name."""
    name = args[0]
    try:
        contexts.check_name(name)
    except contexts.ContextError as error:
        raise CommandError(str(error)) from None
    if name in contexts.names(cli.config_dir):
        raise CommandError(f'context "{name}" already exists')
    metadata: dict[str, Any] = {}
    if options.text("from"):
        source = description_of(cli, options.text("from"))
        metadata = dict(source.get("Metadata") or {})
        endpoints = dict(source["Endpoints"])
    else:
        values = pairs(options.many("docker"))
        if not values:
            raise CommandError("docker endpoint configuration is required")
        endpoints = {"docker": endpoint(cli, values)}
    if options.text("description"):
        metadata["Description"] = options.text("description")
    save(cli, name, {"Name": name, "Metadata": metadata, "Endpoints": endpoints})
    cli.out(name + "\n")
    cli.err(f'Successfully created context "{name}"\n')
    return 0
