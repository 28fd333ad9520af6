"""Who the user is at a registry, for the commands that pass it on."""

from pier.cli.session import Cli

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.client.credentials.auth import AuthConfig
    from pier.client.credentials.store import Credentials


def credentials(cli: Cli) -> "Credentials":
    """All credentials of this user."""
    from pier.client.credentials.store import Credentials

    return Credentials(cli.config_dir, cli.config, cli.environ)


def find(cli: Cli, server: str) -> "AuthConfig | None":
    """The login at a server, None where there is none. What cannot be read is a warning: much can be had without a login."""
    from pier.client.credentials.auth import CredentialError

    try:
        return credentials(cli).get(server)
    except CredentialError as error:
        cli.err(f"WARNING: going on without the login at {server}: {error}\n")
        return None


def header(cli: Cli, server: str) -> tuple[str, str]:
    """The header X-Registry-Auth for a server."""
    from pier.client.credentials import auth

    return auth.header(find(cli, server))
