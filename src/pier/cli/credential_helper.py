"""`docker-credential-pier`: Pier's sealed store as a credential helper, so that Docker's own client can keep its logins there.

    config.json: "credsStore": "pier"

The folder is $DOCKER_CONFIG, else ~/.docker. Source: the protocol in the README of docker/docker-credential-helpers, on whose texts clients match.
"""

import os
import sys

from pier.cli.session import VERSION, write_all

USAGE = "Usage: docker-credential-pier <store|get|erase|list|version>\n"
NOT_FOUND = "credentials not found in native keychain"
LIMIT_BYTES = 1 << 20


class _Refused(Exception):
    """The request cannot be answered; the text is what the protocol has on stdout."""


def main() -> None:
    """The program."""
    os._exit(run(sys.argv[1:], os.environ))


def run(args: list[str], environ: "os._Environ[str]") -> int:
    """One request of the protocol; the exit status."""
    from pier.client.configfile import ConfigError
    from pier.client.credentials.auth import CredentialError

    if len(args) != 1:
        write_all(2, USAGE)
        return 1
    if args[0] in ("version", "--version"):
        write_all(1, f"docker-credential-pier (pier) {VERSION}\n")
        return 0
    try:
        answer = _answer(args[0], environ)
    except (_Refused, CredentialError, ConfigError) as error:
        write_all(1, f"{error}\n")
        return 1
    write_all(1, answer)
    return 0


def _answer(action: str, environ: "os._Environ[str]") -> str:
    from pier.cli.session import Cli
    from pier.client import jsontext
    from pier.client.credentials.auth import TOKEN_USER, AuthConfig
    from pier.client.credentials.store import Credentials

    cli = Cli(environ)
    store = Credentials(cli.config_dir, cli.config, environ).sealed()
    if action == "list":
        found = {server: store.get(server) for server in store.logged_in()}
        return jsontext.encode({server: TOKEN_USER if auth.identity_token else auth.username for server, auth in found.items() if auth}) + "\n"
    if action == "store":
        server, username, secret = _login(_request())
        token = username == TOKEN_USER
        store.put(AuthConfig(server, identity_token=secret) if token else AuthConfig(server, username, secret))
        return ""
    if action not in ("get", "erase"):
        raise _Refused(f"Unknown credential action `{action}`")
    server = _request().decode("utf-8", "surrogateescape").strip()
    if not server:
        raise _Refused("no credentials server URL")
    if action == "erase":
        store.drop(server)
        return ""
    auth = store.get(server)
    if auth is None:
        raise _Refused(NOT_FOUND)
    return jsontext.encode({"ServerURL": server, "Username": TOKEN_USER if auth.identity_token else auth.username, "Secret": auth.secret}) + "\n"


def _login(data: bytes) -> tuple[str, str, str]:
    from pier.client import jsontext

    try:
        found = jsontext.decode(data)
        server, username, secret = found["ServerURL"], found["Username"], found["Secret"]
    except (ValueError, KeyError, TypeError):
        server = username = secret = None
    if not isinstance(server, str) or not isinstance(username, str) or not isinstance(secret, str):
        raise _Refused("the request is not an object with ServerURL, Username and Secret")
    if not server:
        raise _Refused("no credentials server URL")
    if not username:
        raise _Refused("no credentials username")
    return server, username, secret


def _request() -> bytes:
    data = b""
    while piece := os.read(0, 65536):
        data += piece
        if len(data) > LIMIT_BYTES:
            raise _Refused(f"the request is longer than {LIMIT_BYTES} bytes")
    return data
