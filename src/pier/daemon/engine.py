"""What a running daemon consists of: the nouns, constructed in main.py and handed to every route."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pier.daemon.config import Config

if TYPE_CHECKING:
    from pier.archive.workers import Workers
    from pier.containers.table import Containers
    from pier.daemon.relay import Relay
    from pier.events import Journal
    from pier.http.server import Server
    from pier.images import Images
    from pier.logs.client import Pump
    from pier.networks import Networks
    from pier.runtime.facts import HostFacts
    from pier.runtime.supervisor import Supervisor
    from pier.snapshots import Snapshots
    from pier.store import Store
    from pier.volumes import Volumes
    from pier.volumes.bin import Bin
    from pier.volumes.copies import Copies


@dataclass(eq=False)
class Engine:
    """`id` is the daemon's own, kept in the data root. `config` is replaced on reload, everything else stays."""

    id: str
    config: Config
    facts: "HostFacts"
    store: "Store"
    journal: "Journal"
    images: "Images"
    snapshots: "Snapshots"
    networks: "Networks"
    volumes: "Volumes"
    copies: "Copies"
    bin: "Bin"
    supervisor: "Supervisor"
    pump: "Pump"
    workers: "Workers"
    containers: "Containers"
    relay: "Relay"
    servers: "list[Server]" = field(default_factory=list)
