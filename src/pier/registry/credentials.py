"""Who somebody is at a registry, and the header in which Docker's API carries it (`X-Registry-Auth`)."""

import binascii
import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field

from pier.errors import Invalid


@dataclass(frozen=True)
class Credentials:
    """A name with its password, or a token instead. Nothing of it is in its repr.

    identity_token: what a token server gave at login, to be exchanged for tokens (OAuth2's refresh token); then there is no password.
    registry_token: sent to the registry as it is, as a bearer token.
    """

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.username or self.password or self.identity_token or self.registry_token)

    @property
    def basic(self) -> str:
        """The value of an Authorization header of the scheme Basic (RFC 7617); "" where there is no name and password."""
        if not (self.username and self.password):
            return ""
        return "Basic " + binascii.b2a_base64(f"{self.username}:{self.password}".encode(), newline=False).decode()


def from_header(value: str) -> Credentials:
    """What `X-Registry-Auth` says: base64 (URL alphabet, padding or not) of Docker's AuthConfig; "" is nobody. Raises Invalid with Docker's words."""
    if not value.strip():
        return Credentials()
    try:
        found = json.loads(_decoded(value.strip()))
    except (ValueError, RecursionError):
        raise Invalid("invalid X-Registry-Auth header: invalid auth configuration") from None
    return from_config(found)


def from_config(found: object) -> Credentials:
    """What an AuthConfig says (a decoded JSON object; `auth` is base64 of NAME:PASSWORD). Raises Invalid."""
    if not isinstance(found, dict):
        raise Invalid("invalid X-Registry-Auth header: invalid auth configuration")
    field_of = {str(key).lower(): value for key, value in found.items()}
    words = [field_of.get(name) or "" for name in ("username", "password", "identitytoken", "registrytoken", "auth")]
    if not all(isinstance(word, str) for word in words):
        raise Invalid("invalid X-Registry-Auth header: invalid auth configuration")
    username, password, identity, registry, auth = words
    if auth and not (username or password or identity):
        try:
            username, _, password = _decoded(auth).decode().partition(":")
        except ValueError:
            raise Invalid("invalid X-Registry-Auth header: invalid auth configuration") from None
    return Credentials(username, password, identity, registry)


def to_header(credentials: Credentials, server: str = "") -> str:
    """The same as the value of `X-Registry-Auth`, for `server` if it is named."""
    words = {
        "username": credentials.username,
        "password": credentials.password,
        "identitytoken": credentials.identity_token,
        "registrytoken": credentials.registry_token,
        "serveraddress": server,
    }
    return urlsafe_b64encode(json.dumps({key: word for key, word in words.items() if word}).encode()).decode()


def _decoded(text: str) -> bytes:
    """Base64 of either alphabet, with padding or without. Raises ValueError for anything else in it."""
    bare = text.rstrip("=").replace("-", "+").replace("_", "/")
    return binascii.a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True)
