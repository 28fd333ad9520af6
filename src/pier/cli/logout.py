"""`pier logout`: forget a login."""

from pier.cli.session import Cli, CommandError
from pier.client.credentials import servers
from pier.client.credentials.auth import CredentialError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[SERVER]"
SHORT = "Log out from a registry"
LONG = """Log out from a registry.
If no server is specified, the default is Docker Hub."""
FLAGS = ()
ARGS = (0, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Forget it; what could not be erased is a warning, as in Docker."""
    from pier.cli.login import warn_of_environment
    from pier.cli.registry_auth import credentials
    from pier.client.configfile import ConfigError

    try:
        server = servers.of_argument(args[0] if args else "")
    except ValueError as error:
        raise CommandError(str(error)) from None
    warn_of_environment(cli)
    cli.out(f"Removing login credentials for {server}\n")
    try:
        credentials(cli).drop(server)
    except (CredentialError, ConfigError) as error:
        cli.err(f"WARNING: could not erase credentials:\n{server}: {error}\n")
    return 0
