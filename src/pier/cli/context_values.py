"""What the context commands share: the endpoint that --docker describes, the current context, and its warnings."""

from pier.cli.session import Cli, CommandError, check_host
from pier.client import configfile, contexts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LONG_ENDPOINT = """Docker endpoint config:

NAME                DESCRIPTION
from                Copy named context's Docker endpoint configuration
host                Docker endpoint on which to connect
ca                  Trust certs signed only by this CA
cert                Path to TLS certificate file
key                 Path to TLS key file
skip-tls-verify     Skip TLS certificate validation

Example:

$ pier context {verb} my-context --description "some description" --docker "host=tcp://myserver:2376,ca=~/ca-file,cert=~/cert-file,key=~/key-file\""""
KEYS = frozenset(["from", "host", "ca", "cert", "key", "skip-tls-verify"])


def pairs(texts: list[str]) -> dict[str, str]:
    """The values of --docker, `name=value` with commas between. Raises CommandError."""
    found: dict[str, str] = {}
    for text in texts:
        for part in text.split(","):
            name, equals, value = part.partition("=")
            if not equals:
                raise CommandError(f'invalid argument "{text}" for "--docker" flag: {part} must be formatted as key=value', 125)
            found[name] = value
    unknown = sorted(set(found) - KEYS)
    if unknown:
        raise CommandError(f"unable to create docker endpoint config: unrecognized config key: {unknown[0]}")
    later = sorted(set(found) & {"ca", "cert", "key", "skip-tls-verify"})
    if later:
        raise CommandError(f"--docker {later[0]}= is not supported by Pier yet")
    return found


def endpoint(cli: Cli, values: dict[str, str]) -> "dict[str, Any]":
    """The Docker endpoint of a context to store. Raises CommandError."""
    if values.get("from"):
        return dict(description_of(cli, values["from"])["Endpoints"]["docker"])
    host = values.get("host", "")
    if host:
        try:
            check_host(host)
        except CommandError:
            raise CommandError(f"unable to create docker endpoint config: invalid bind address format: {host}") from None
    return {**({"Host": host} if host else {}), "SkipTLSVerify": False}


def default_endpoint(cli: Cli) -> str:
    """The address of the `default` context."""
    return cli.environ.get("PIER_HOST") or cli.environ.get("DOCKER_HOST") or contexts.DEFAULT_HOST


def description_of(cli: Cli, name: str) -> "dict[str, Any]":
    """meta.json of a context, or what stands for `default`. Raises CommandError."""
    if name == contexts.DEFAULT:
        return {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": default_endpoint(cli), "SkipTLSVerify": False}}}
    try:
        return contexts.load(cli.config_dir, name)
    except contexts.ContextError as error:
        raise CommandError(str(error)) from None


def warn_of_environment(cli: Cli) -> None:
    """Say that an address in the environment outweighs the context."""
    for variable in ("PIER_HOST", "DOCKER_HOST"):
        if cli.environ.get(variable):
            cli.err(
                f"Warning: {variable} environment variable overrides the active context. "
                f"To use a context, either set the global --context flag, or unset {variable} environment variable.\n"
            )
            return


def save(cli: Cli, name: str, description: "dict[str, Any]") -> None:
    """Write a context's description. Raises CommandError."""
    try:
        contexts.store(cli.config_dir, name, description)
    except configfile.ConfigError as error:
        raise CommandError(str(error)) from None


def set_current(cli: Cli, name: str) -> None:
    """Write the current context into config.json; `default` is written as none. Raises CommandError."""

    def edit(config: "dict[str, Any]") -> bool:
        before = config.pop("currentContext", None)
        if name != contexts.DEFAULT:
            config["currentContext"] = name
        return bool(config.get("currentContext") != before)

    try:
        configfile.change(cli.config_dir, edit)
    except configfile.ConfigError as error:
        raise CommandError(str(error)) from None
