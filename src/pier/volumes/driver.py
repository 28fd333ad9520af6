"""What keeps volumes: the local driver (local_driver.py) and plugins (plugin_driver.py). One contract suite: tests/contract/volumes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Options = Mapping[str, str] | None


@dataclass(frozen=True)
class Found:
    """A volume as its driver knows it. mountpoint: "" where it has none now; created_at: the driver's own text, or ""."""

    name: str
    mountpoint: str = ""
    created_at: str = ""
    status: Mapping[str, Any] = field(default_factory=dict)


class Driver(Protocol):
    """A call that fails raises a PierError, or OSError of the host, and fails alone: nothing else waits for it.

    Any call may come again after a crash: what is there already, or gone already, is no error.
    """

    name: str
    scope: str
    """"local" or "global": whether other hosts see its volumes."""

    def check(self, name: str, options: Options) -> None:
        """Raises Invalid, NotImplementedByPier for what cannot be a volume of this driver; touches nothing."""
        ...

    async def create(self, name: str, options: Options) -> None:
        """Make a volume; one of that name that is there stays as it is."""
        ...

    async def remove(self, name: str) -> None:
        """Remove a volume and its data."""
        ...

    async def mount(self, name: str, options: Options, user: str) -> str:
        """Make the volume's files available to `user` (a container's ID); returns the host's path of them. Each needs one `unmount`."""
        ...

    async def unmount(self, name: str, options: Options, user: str, last: bool) -> None:
        """`user` needs it no more. last: nobody else on this host uses it."""
        ...

    async def find(self, name: str) -> Found | None:
        """A volume; None where the driver has none of that name."""
        ...

    async def list(self) -> "list[Found]":
        """All volumes of the driver."""
        ...
