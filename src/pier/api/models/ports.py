"""What Pier says and takes of published ports beyond Docker's API."""

from pier.api.models.base import Model
from pier.api.models.containers import PortBinding


class PortStep(Model, kw_only=True):
    """One step of the way of a packet to a published port (Pier only)."""

    passed: bool
    text: str


class PortPath(Model, kw_only=True):
    """The way of a packet to a published port, up to where it stops (Pier only). port: `0.0.0.0:8080->80/tcp`; private: `80/tcp`."""

    port: str
    private: str
    steps: list[PortStep]


class PortsChange(Model, kw_only=True):
    """Body of POST /pier/containers/{name}/ports (Pier only). A binding to be removed that is empty stands for all of its port."""

    add: dict[str, list[PortBinding] | None] | None = None
    remove: dict[str, list[PortBinding] | None] | None = None
