"""`pier login`: try name and password at a registry, and keep them."""

import os

from pier.cli.session import Cli, CommandError
from pier.client.credentials import servers
from pier.client.credentials.auth import AuthConfig, CredentialError
from pier.client.session import ApiError, ConnectionFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options
    from pier.client.credentials.store import Kept

USAGE = "[OPTIONS] [SERVER]"
SHORT = "Authenticate to a registry"
LONG = """Authenticate to a registry.
Defaults to Docker Hub if no server is specified."""
FLAGS = (
    ("password", "p", "string", "Password or Personal Access Token (PAT)"),
    ("password-stdin", "", "bool", "Take the Password or Personal Access Token (PAT) from stdin"),
    ("plaintext", "", "bool", "Keep the password in config.json, readable, instead of encrypting it"),
    ("username", "u", "string", "Username"),
)
ARGS = (0, 1)
STDIN_LIMIT_BYTES = 64 << 10


class Rejected(CommandError):
    """The registry does not take this name and password."""


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Log in; prints what the daemon says of it."""
    try:
        server = servers.of_argument(args[0] if args else "")
    except ValueError as error:
        raise CommandError(str(error)) from None
    username, password = given(cli, options)
    warn_of_environment(cli)
    known = None
    if not username and not password:
        known = _known(cli, server)
        if known is not None and known.username and known.password:
            said = _with_stored(cli, known, options)
            if said is not None:
                cli.out(f"{said}\n" if said else "")
                return 0
    auth = complete(cli, server, username, password, known.username if known else "")
    said = attempt(cli, auth, options)
    cli.out(f"{said}\n" if said else "")
    return 0


def given(cli: Cli, options: "Options") -> tuple[str, str]:
    """Name and password of the flags, each "" where it has to be asked for. Raises CommandError for flags that contradict each other."""
    username, password = options.text("username").strip(), options.text("password")
    if "password" in options.given:
        if options.flag("password-stdin"):
            raise CommandError("conflicting options: cannot specify both --password and --password-stdin")
        if not password:
            raise CommandError("password is empty")
    if "username" in options.given and not username:
        raise CommandError("username is empty")
    if "password" in options.given:
        cli.err("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
    if options.flag("password-stdin"):
        if not username:
            raise CommandError("the --password-stdin option requires --username to be set")
        password = _from_stdin()
    return username, password


def _from_stdin() -> str:
    from pier.client.connection import read_file

    data = b""
    for piece in read_file(0):
        data += piece
        if len(data) > STDIN_LIMIT_BYTES:
            raise CommandError(f"--password-stdin: what came is longer than {STDIN_LIMIT_BYTES} bytes")
    return data.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")


def complete(cli: Cli, server: str, username: str, password: str, usual: str = "") -> AuthConfig:
    """Name and password, asked for where they are missing; `usual` is the name that return alone stands for. Raises CommandError."""
    from pier.cli.prompt import ask

    if not (username and password) and not os.isatty(0):
        raise CommandError("Error: Cannot perform an interactive login from a non TTY device")
    if not username:
        if server == servers.HUB:
            cli.err("Log in with your Docker ID or e-mail address; a personal access token does as the password.\n")
        username = ask(cli, f"Username ({usual}): " if usual else "Username: ").strip() or usual
        if not username:
            raise CommandError("Error: Non-null Username Required")
    if not password:
        password = ask(cli, "Password: ", echo=False)
        if not password:
            raise CommandError("Error: Password Required")
    return AuthConfig(server, username, password)


def _known(cli: Cli, server: str) -> AuthConfig | None:
    from pier.cli.registry_auth import find

    return find(cli, server)


def _with_stored(cli: Cli, known: AuthConfig, options: "Options") -> str | None:
    """What the daemon says of the login that is stored, None where it is not good any more."""
    cli.err(f"Authenticating with existing credentials... [Username: {known.username}]\n")
    cli.err("To log in with another account, run 'pier logout' first.\n")
    try:
        return attempt(cli, known, options)
    except Rejected:
        cli.err("Stored credentials invalid or expired\n")
    except ApiError as error:
        cli.err(f"Login did not succeed, error: {error}\n")
    return None


def attempt(cli: Cli, auth: AuthConfig, options: "Options") -> str:
    """Have the daemon try a login, without a daemon try it here, and keep what was good. What was said of it.

    Raises Rejected, ApiError, CommandError.
    """
    try:
        answer = cli.client(autostart=False).post("/auth", body=auth.body()) or {}
        said, token = str(answer.get("Status") or ""), str(answer.get("IdentityToken") or "")
    except ApiError as error:
        if error.status == 401:
            raise Rejected(str(error)) from None
        raise
    except ConnectionFailed:
        said, token = _without_daemon(auth)
    if token:
        auth = AuthConfig(auth.server, auth.username, identity_token=token)
    keep(cli, auth, options)
    return said


def _without_daemon(auth: AuthConfig) -> tuple[str, str]:
    """Try a login from here: what is said of it, and an identity token where the registry gave one."""
    from pier.cli import remote
    from pier.errors import Unauthorized

    with remote.errors():
        try:
            return remote.login(auth)
        except Unauthorized as error:
            raise Rejected(str(error)) from None


def keep(cli: Cli, auth: AuthConfig, options: "Options") -> None:
    """Store a login, and say what has to be said of the place. Raises CommandError."""
    from pier.cli.registry_auth import credentials
    from pier.client.configfile import ConfigError

    try:
        kept = credentials(cli).put(auth, options.flag("plaintext"))
    except (CredentialError, ConfigError) as error:
        raise CommandError(f"Error saving credentials: {error}") from None
    tell(cli, kept, auth.server)


def tell(cli: Cli, kept: "Kept", server: str) -> None:
    """What a user should know of where a login went."""
    if kept.place == "plain":
        cli.err(
            f"\nWARNING! Your credentials are stored unencrypted in '{cli.config_dir}/config.json'.\n"
            'Without --plaintext (and without "pierCredentials": "plain" there) they are encrypted.\n\n'
        )
    if kept.moved:
        cli.err(
            f"The plain text of {server} in config.json is gone: the login is encrypted now.\n"
            'For Docker\'s own client to use it too, set "credsStore" of config.json to "pier".\n'
        )
    if kept.lost:
        cli.err(f"WARNING: the key of the logins at {', '.join(kept.lost)} is gone: log in there again\n")


def warn_of_environment(cli: Cli) -> None:
    """Say that a variable outweighs what is stored."""
    if cli.environ.get("DOCKER_AUTH_CONFIG"):
        cli.err("WARNING: DOCKER_AUTH_CONFIG is set and comes before any stored login; unset it to use those\n")
