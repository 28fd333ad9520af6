"""Plain text in config.json, as Docker keeps it: base64 of NAME:PASSWORD, which hides nothing. Pure: works on the file's content.

    "auths": {"reg.example:5000": {"auth": "..."}, "https://index.docker.io/v1/": {"auth": "...", "identitytoken": "..."}, "helped.example": {}}

An empty entry says that somebody is logged in there and a helper has the rest.
"""

import binascii

from pier.client.credentials.auth import AuthConfig, CredentialError
from pier.client.credentials.servers import spellings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _auths(config: "dict[str, Any]") -> "dict[str, Any]":
    found = config.get("auths")
    return found if isinstance(found, dict) else {}


def find(config: "dict[str, Any]", server: str, source: str = "config.json") -> AuthConfig | None:
    """Who is logged in, None where nobody is, or a helper has it. Raises CredentialError for an entry that cannot be read."""
    auths = _auths(config)
    for key in spellings(server, list(auths)):
        entry = auths[key]
        if not isinstance(entry, dict):
            raise CredentialError(f"{source}: the entry {key} of auths is not an object")
        auth = _decoded(entry, server, f"{source}: the entry {key} of auths")
        if auth:
            return auth
    return None


def _decoded(entry: "dict[str, Any]", server: str, where: str) -> AuthConfig:
    texts = {name: entry.get(name) or "" for name in ("auth", "username", "password", "identitytoken", "registrytoken")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise CredentialError(f"{where} has fields that are no text")
    username, password = texts["username"], texts["password"]
    if texts["auth"]:
        try:
            username, colon, password = binascii.a2b_base64(texts["auth"]).decode().partition(":")
        except (ValueError, UnicodeDecodeError):
            colon = ""
        if not colon or not username:
            raise CredentialError(f"{where} has an auth that is not base64 of NAME:PASSWORD: log in again")
        password = password.strip("\x00")
    return AuthConfig(server, username, password, texts["identitytoken"], texts["registrytoken"])


def logged_in(config: "dict[str, Any]") -> list[str]:
    """The servers that have an entry, readable or not."""
    return list(_auths(config))


def put(config: "dict[str, Any]", auth: AuthConfig) -> bool:
    """Write a login as Docker does, over every older spelling of its server. True: there is something to write."""
    drop(config, auth.server)
    text = f"{auth.username}:{'' if auth.identity_token else auth.password}".encode()
    entry = {"auth": binascii.b2a_base64(text, newline=False).decode()}
    if auth.identity_token:
        entry["identitytoken"] = auth.identity_token
    _insert(config, auth.server, entry)
    return True


def mark(config: "dict[str, Any]", server: str) -> bool:
    """Note that a helper has the server's login; whether there was anything to change."""
    if _auths(config).get(server) == {}:
        return False
    drop(config, server)
    _insert(config, server, {})
    return True


def _insert(config: "dict[str, Any]", server: str, entry: "dict[str, str]") -> None:
    auths = {**_auths(config), server: entry}
    config["auths"] = {key: auths[key] for key in sorted(auths)}


def drop(config: "dict[str, Any]", server: str) -> bool:
    """Take away every spelling of a server; whether there was one."""
    auths = _auths(config)
    gone = spellings(server, list(auths))
    for key in gone:
        del auths[key]
    return bool(gone)
