"""Under which names a container is known in its networks. Pure."""

from pier.containers.record import Record
from pier.networks.model import PREDEFINED


def serves(record: Record) -> bool:
    """Whether the embedded server answers a container: it is in a network of a user."""
    return not record.host.network_mode.startswith("container:") and any(name not in PREDEFINED for name in record.endpoints)


def dns_names(record: Record, network: str) -> list[str] | None:
    """Its names in a network of a user: its own, its aliases there, its short ID, its host name; None in a predefined one, which has no names."""
    if network in PREDEFINED or record.host.network_mode.startswith("container:"):
        return None
    given = record.endpoints.get(network)
    names = [record.name, *((given.aliases if given else None) or []), record.short_id, record.config.hostname]
    return list(dict.fromkeys(name for name in names if name))
