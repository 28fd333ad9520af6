"""What the supervisor reports, passed on to those whom it concerns: from when they are there until the daemon ends."""

import logging
from dataclasses import dataclass, field

from pier.containers import exits, restore
from pier.containers.table import Containers
from pier.logs.client import Pump
from pier.runtime.supervisor import Exit

_log = logging.getLogger("pier.daemon")


@dataclass(eq=False)
class Relay:
    """The supervisor's callbacks. Without `containers` an exit is not acknowledged: the keeper tells the next who asks.

    Exits that are reported while the containers are being restored wait in `early` until `go` is called.
    """

    containers: Containers | None = None
    pump: Pump | None = None
    early: list[Exit] | None = field(default_factory=list)

    def go(self) -> None:
        """The containers are restored: hear of what ended meanwhile, and of everything from now on at once."""
        early, self.early = self.early or [], None
        for ended in early:
            self.on_exit(ended)

    def on_exit(self, ended: Exit) -> None:
        """A container's or exec's process ended."""
        if self.early is not None:
            self.early.append(ended)
        elif self.containers is not None:
            exits.on_exit(self.containers, ended)

    def on_helper_lost(self, name: str) -> None:
        """A helper (`pump`, `launcher`, `keeper`) died, and another one is in its place."""
        _log.warning("%s died and was started again", name)
        if name == "pump" and self.pump is not None:
            self.pump.on_lost()
        if self.containers is not None:
            self.containers.spawn(restore.helper_lost(self.containers, name), f"recover from the loss of {name}")
