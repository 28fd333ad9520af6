"""The wire types of what mounts can do beyond Docker's API."""

import msgspec

from pier.api.models.base import Model
from pier.api.models.containers import Mount


class MountsChange(Model, kw_only=True):
    """POST /pier/containers/{name}/mounts; `remove` has destinations."""

    add: list[Mount] = msgspec.field(default_factory=list)
    remove: list[str] = msgspec.field(default_factory=list)
