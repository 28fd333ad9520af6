"""`pier context use`: make a context the current one."""

from pier.cli.context_values import description_of, set_current, warn_of_environment
from pier.cli.session import Cli

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "CONTEXT"
SHORT = "Set the current pier context"
FLAGS = ()
ARGS = (1, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Write it into config.json; prints its name."""
    name = args[0]
    description_of(cli, name)
    set_current(cli, name)
    cli.out(name + "\n")
    cli.err(f'Current context is now "{name}"\n')
    if name != "default":
        warn_of_environment(cli)
    return 0
