"""The command line's one door to pier.registry and pier.oci: for what is between the user and a registry, and needs no daemon.

What holds here: Docker's certs.d, the proxies of the environment, loopback without TLS, and --insecure for the registry of the command's own names.
The daemon's configuration does not: no mirrors, no table of registries. Importing this costs 0.1 s, so that commands do it when they act.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pier.cli.flags import Options
from pier.cli.registry_auth import find
from pier.cli.session import VERSION, Cli, CommandError
from pier.client.credentials.auth import AuthConfig
from pier.client.references import Name
from pier.errors import PierError
from pier.oci.platform import Platform
from pier.oci.reference import Reference
from pier.registry import transfer
from pier.registry.cancel import Cancel
from pier.registry.client import Registries
from pier.registry.config import DOCKER_CERTS, OWN_HOSTS, RegistryConfig
from pier.registry.credentials import Credentials
from pier.registry.errors import Answered
from pier.registry.proxies import Proxies
from pier.registry.repository import Fetched, Repository

__all__ = [
    "Fetched", "Repository", "errors", "fetched", "is_index", "login", "open_repository", "platform", "registries", "repository", "send", "transfer",
    "wanted_platform",
]  # fmt: skip


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """What goes wrong at a registry fails the command, with its text and what was asked where. Raises CommandError."""
    try:
        yield
    except Answered as error:
        asked = error.answer.url
        raise CommandError(str(error) if asked in str(error) else f'{error.answer.method.capitalize()} "{asked}": {error}') from None
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


def open_repository(cli: Cli, client: Registries, name: Name, push: bool = False, cancel: Cancel | None = None) -> Repository:
    """The repository of a name, asked as the user who is logged in there; retries are told on stderr."""
    who = credentials(find(cli, name.server))
    return client.repository(reference(name), who, cancel=cancel, notice=lambda text: cli.err(f"{text}\n"), push=push)


@contextlib.contextmanager
def repository(cli: Cli, name: Name, options: Options, push: bool = False) -> Iterator[Repository]:
    """The repository of a command with the flag --insecure, and what goes wrong there as its failure. Raises CommandError."""
    with errors():
        yield open_repository(cli, registries((name.domain,) if options.flag("insecure") else ()), name, push)


def send(
    cli: Cli, client: Registries, source: Name, target: Name, what: transfer.Tree, tag: str, progress: transfer.Progress = lambda *_: None
) -> str:
    """Have `what` of one repository in another under a tag, or its own digest. Its digest. Raises PierError."""
    cancel = Cancel()
    there = open_repository(cli, client, target, push=True, cancel=cancel)
    return transfer.copy(open_repository(cli, client, source, cancel=cancel), there, what, tag, cancel, progress)


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


# Documents


def is_index(fetched: Fetched) -> bool:
    """Whether a document stands for several manifests."""
    from pier.oci.manifest import Index

    return isinstance(fetched.document, Index)


def fetched(data: bytes, media_type: str) -> Fetched:
    """A document that is here already. Raises Invalid for bytes that are none."""
    from pier.oci import digest, manifest

    document = manifest.parse(data, media_type)
    return Fetched(data, media_type or manifest.media_type_of(document), digest.of(data), document)


def platform(repository: Repository, found: Fetched) -> dict[str, Any]:
    """The platform that a manifest's configuration says, fields in Docker's order; nothing where it is no image's. Raises PierError."""
    from pier.oci import image_config
    from pier.oci.descriptor import DOCKER_CONFIG, OCI_CONFIG
    from pier.oci.manifest import Manifest

    if not isinstance(found.document, Manifest) or found.document.config.media_type not in (DOCKER_CONFIG, OCI_CONFIG):
        return {}
    config = image_config.parse(transfer.small_blob(repository, found.document.config))
    fields = {
        "architecture": config.architecture,
        "os": config.os,
        "os.version": config.os_version,
        "os.features": config.os_features,
        "variant": config.variant,
    }
    return {name: value for name, value in fields.items() if value}


def wanted_platform(text: str) -> Platform:
    """The platform that a user names, this machine's where none is named. Raises Invalid."""
    from pier.oci import platform as platforms

    return platforms.parse(text) if text else platforms.host()
