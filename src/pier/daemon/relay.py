"""What the supervisor reports, passed on to those whom it concerns: from when they are there until the daemon ends."""

import logging
from dataclasses import dataclass

from pier.containers import exits, restore
from pier.containers.table import Containers
from pier.logs.client import Pump
from pier.runtime.supervisor import Exit

_log = logging.getLogger("pier.daemon")


@dataclass(eq=False)
class Relay:
    """The supervisor's callbacks. Without `containers` an exit is not acknowledged: the keeper tells the next who asks."""

    containers: Containers | None = None
    pump: Pump | None = None

    def on_exit(self, ended: Exit) -> None:
        """A container's or exec's process ended."""
        if self.containers is not None:
            exits.on_exit(self.containers, ended)

    def on_helper_lost(self, name: str) -> None:
        """A helper (`pump`, `launcher`, `keeper`) died, and another one is in its place."""
        _log.warning("%s died and was started again", name)
        if name == "pump" and self.pump is not None:
            self.pump.on_lost()
        if self.containers is not None:
            self.containers.spawn(restore.helper_lost(self.containers, name), f"recover from the loss of {name}")
