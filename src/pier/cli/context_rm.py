"""`pier context rm`: forget contexts."""

from pier.cli.context_values import set_current
from pier.cli.session import Cli, CommandError
from pier.client import contexts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "CONTEXT [CONTEXT...]"
SHORT = "Remove one or more contexts"
ALIASES = ("context rm", "context remove")
FLAGS = (("force", "f", "bool", "Force the removal of a context in use"),)
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Remove each; prints the names."""
    failures = []
    current = cli.setting("currentContext") or contexts.DEFAULT
    for name in args:
        if name == contexts.DEFAULT:
            failures.append('context "default" cannot be removed')
            continue
        try:
            contexts.load(cli.config_dir, name)
        except contexts.ContextError:
            if not options.flag("force"):
                failures.append(f'context "{name}" does not exist')
                continue
        if name == current:
            if not options.flag("force"):
                failures.append(f'context "{name}" is in use, set -f flag to force remove')
                continue
            set_current(cli, contexts.DEFAULT)
        contexts.remove(cli.config_dir, name)
        cli.out(name + "\n")
    if failures:
        raise CommandError("\n".join(failures))
    return 0
