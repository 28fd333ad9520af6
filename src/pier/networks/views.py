"""Networks as the API shows them, and its filters. Pure."""

import time
from collections.abc import Callable, Mapping, Sequence

from pier.api.models.networks import IPAM, IPAMConfig, NetworkContainer, NetworkInspect
from pier.errors import Invalid
from pier.networks.endpoints import Endpoint
from pier.networks.records import NetworkRecord

_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def choose(records: Sequence[NetworkRecord], filters: Mapping[str, Sequence[str]]) -> list[NetworkRecord]:
    """The networks that pass every filter, by any one of its values. Raises Invalid with Docker's texts."""
    for key, values in filters.items():
        if key not in _FILTERS:
            raise Invalid(f"invalid filter '{key}'")
        if key == "type" and (bad := [value for value in values if value not in ("builtin", "custom")]):
            raise Invalid(f"invalid filter: 'type'='{bad[0]}'")
        if key == "dangling" and (len(values) != 1 or values[0] not in _BOOLEANS):
            raise Invalid("invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")")
    return [record for record in records if all(_passes(record, key, values) for key, values in filters.items() if values)]


def _passes(record: NetworkRecord, key: str, values: Sequence[str]) -> bool:
    match key:
        case "name":
            return any(value in record.name for value in values)
        case "id":
            return any(record.id.startswith(value) for value in values)
        case "driver":
            return record.driver in values
        case "scope":
            return "local" in values
        case "type":
            return "builtin" in values
        case "dangling":
            return not _BOOLEANS[values[0]]  # the predefined ones never dangle
    return False  # label: the predefined ones have none


def _rfc3339(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09}".rstrip("0").rstrip(".") + "Z"


def describe(record: NetworkRecord, mtu: int, inside: Mapping[str, Endpoint], container_name: Callable[[str], str]) -> NetworkInspect:
    """The wire form. inside: endpoints by container ID."""
    ipam, options = IPAM(), {}
    if record.driver == "bridge":
        gateway, _, prefix = record.interface.partition("/")
        ipam = IPAM(config=[IPAMConfig(subnet=_subnet(gateway, int(prefix)), gateway=gateway)])
        options = {
            "com.docker.network.bridge.default_bridge": "true",
            "com.docker.network.bridge.enable_icc": "true",
            "com.docker.network.bridge.enable_ip_masquerade": "true",
            "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
            "com.docker.network.bridge.name": record.bridge,
            "com.docker.network.driver.mtu": str(mtu),
        }
    containers = {
        container: NetworkContainer(
            name=container_name(container), endpoint_id=endpoint.endpoint_id, mac_address=endpoint.mac, ipv4_address=endpoint.cidr
        )
        for container, endpoint in inside.items()
    }
    return NetworkInspect(
        name=record.name, id=record.id, created=_rfc3339(record.created_ns), driver=record.driver, ipam=ipam, containers=containers, options=options
    )


def _subnet(gateway: str, prefix: int) -> str:
    number = 0
    for octet in gateway.split("."):
        number = number << 8 | int(octet)
    number &= 0xFFFFFFFF << (32 - prefix)
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0)) + f"/{prefix}"
