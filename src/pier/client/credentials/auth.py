"""One user at one registry, as Docker's API carries it (AuthConfig)."""

import binascii

from pier.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TOKEN_USER = "<token>"  # the name under which helpers keep an identity token
HEADER = "X-Registry-Auth"
SEALED_FILE = "pier-credentials.json"  # in the configuration folder (sealed.py)
_URL_ALPHABET = bytes.maketrans(b"+/", b"-_")


class CredentialError(Exception):
    """Credentials cannot be read or kept; the text names the place and the server, never a secret."""


class AuthConfig:
    """Name and password, or a token, at `server`; everything may be empty."""

    __slots__ = ("identity_token", "password", "registry_token", "server", "username")

    def __init__(self, server: str, username: str = "", password: str = "", identity_token: str = "", registry_token: str = "") -> None:
        self.server = server
        self.username = username
        self.password = password
        self.identity_token = identity_token
        self.registry_token = registry_token

    def __repr__(self) -> str:
        return f"AuthConfig({self.server!r})"

    def __bool__(self) -> bool:
        return bool(self.username or self.password or self.identity_token or self.registry_token)

    @property
    def secret(self) -> str:
        """What must not be seen: the password, or the token in its stead."""
        return self.identity_token or self.password

    def body(self) -> "dict[str, Any]":
        """The JSON object of POST /auth and of the header, with the fields that are set, in Docker's order."""
        fields = (
            ("username", self.username),
            ("password", self.password),
            ("serveraddress", self.server),
            ("identitytoken", self.identity_token),
            ("registrytoken", self.registry_token),
        )
        return {name: value for name, value in fields if value}


def header(auth: "AuthConfig | None") -> tuple[str, str]:
    """The header that tells a daemon who asks; nobody is an empty object, which Docker's clients send too."""
    text = jsontext.encode(auth.body() if auth else {}).encode()
    return HEADER, binascii.b2a_base64(text, newline=False).translate(_URL_ALPHABET).decode()
