"""The command line's one door to pier.registry: for what is between the user and a registry, and needs no daemon.

What holds here: Docker's certs.d, the proxies of the environment, loopback without TLS, and --insecure for the registry of the command's own names.
The daemon's configuration does not: no mirrors, no table of registries. Importing this costs 0.1 s, so that commands do it when they act.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pier.cli.registry_auth import find
from pier.cli.session import VERSION, Cli, CommandError
from pier.client.credentials.auth import AuthConfig
from pier.client.references import Name
from pier.errors import PierError
from pier.oci.reference import Reference
from pier.registry.client import Registries
from pier.registry.config import DOCKER_CERTS, OWN_HOSTS, RegistryConfig
from pier.registry.credentials import Credentials
from pier.registry.proxies import Proxies
from pier.registry.repository import Repository


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """What goes wrong at a registry fails the command, with its text. Raises CommandError."""
    try:
        yield
    except PierError as error:
        raise CommandError(str(error)) from None


def registries(insecure: tuple[str, ...] = ()) -> Registries:
    """A client for this process; `insecure` are domains whose certificates nobody has to vouch for. Raises Invalid."""
    config = RegistryConfig(
        insecure=frozenset(insecure) - {""},
        certs_folders=(DOCKER_CERTS, OWN_HOSTS, Path(os.path.expanduser("~/.docker/certs.d"))),
        hosts_folders=(),
        proxies=Proxies.from_environment(os.environ),
    )
    return Registries(config, f"pier/{VERSION}")


def open_repository(cli: Cli, client: Registries, name: Name, push: bool = False) -> Repository:
    """The repository of a name, asked as the user who is logged in there; retries are told on stderr."""
    return client.repository(reference(name), credentials(find(cli, name.server)), notice=lambda text: cli.err(f"{text}\n"), push=push)


def reference(name: Name) -> Reference:
    """The same name in the engine's terms."""
    return Reference(name.domain, name.path, name.tag or None, name.digest or None)


def credentials(auth: AuthConfig | None) -> Credentials:
    """The same login in the registry client's terms."""
    return Credentials(auth.username, auth.password, auth.identity_token, auth.registry_token) if auth else Credentials()


def login(auth: AuthConfig) -> tuple[str, str]:
    """Try a login: what is to be said of it, and an identity token where the registry gave one. Raises Unauthorized and other kinds of PierError."""
    done = registries().login(auth.server, credentials(auth))
    return done.status, done.identity_token
