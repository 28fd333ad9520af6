"""Wire types of what the engine asks registries for its clients.

Sources: engine-api-v1.51.yaml (AuthConfig, SystemAuth, ImageSearch, DistributionInspect) and answers of a 28.5 engine.
"""

from typing import Any

import msgspec

from pier.api.models.base import Model


class AuthRequest(msgspec.Struct, kw_only=True, rename="lower"):
    """The body of POST /auth. Nothing of it may be shown: it has no repr."""

    username: str = ""
    password: str = ""
    auth: str = ""
    server_address: str = msgspec.field(default="", name="serveraddress")
    identity_token: str = msgspec.field(default="", name="identitytoken")
    registry_token: str = msgspec.field(default="", name="registrytoken")

    def __repr__(self) -> str:
        return f"AuthRequest({self.server_address!r})"


class AuthResponse(Model, kw_only=True):
    """identity_token: to be kept in place of the password; "" where the registry gives none."""

    identity_token: str
    status: str


class SearchResult(msgspec.Struct, kw_only=True):
    """One line of GET /images/search; names as the registries' API spells them."""

    star_count: int
    is_official: bool
    name: str
    is_automated: bool
    description: str


class DistributionInspect(Model, kw_only=True):
    """What a name means on its registry: the descriptor of its manifest or index, and for which platforms it is."""

    descriptor: dict[str, Any]
    platforms: list[dict[str, Any]]
