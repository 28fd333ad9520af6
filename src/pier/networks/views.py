"""Networks as the API shows them, and its filters. Pure."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from pier.api.models.networks import IPAM, ConfigReference, IPAMConfig, NetworkContainer, NetworkInspect
from pier.errors import Invalid
from pier.networks.endpoints import Endpoint
from pier.networks.model import Network

_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def choose(records: Sequence[Network], filters: Mapping[str, Sequence[str]], used: Collection[str] = ()) -> list[Network]:
    """The networks that pass every filter, by any one of its values.

    used: the IDs of those that have containers. Raises Invalid with Docker's texts.
    """
    for key, values in filters.items():
        if key not in _FILTERS:
            raise Invalid(f"invalid filter '{key}'")
        if key == "type" and (bad := [value for value in values if value not in ("builtin", "custom")]):
            raise Invalid(f"invalid filter: 'type'='{bad[0]}'")
        if key == "dangling" and (len(values) != 1 or values[0] not in _BOOLEANS):
            raise Invalid("invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")")
    return [record for record in records if all(_passes(record, key, values, used) for key, values in filters.items() if values)]


def _passes(record: Network, key: str, values: Sequence[str], used: Collection[str]) -> bool:
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
            return ("builtin" if record.predefined else "custom") in values
        case "dangling":
            return _BOOLEANS[values[0]] == (not record.predefined and record.id not in used)  # the predefined ones never dangle
    return all(_has_label(record, value) for value in values)


def _has_label(record: Network, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in record.labels and (not equals or record.labels[key] == value)


def _rfc3339(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09}".rstrip("0").rstrip(".") + "Z"


def describe(record: Network, mtu: int, inside: Mapping[str, Endpoint], container_name: Callable[[str], str]) -> NetworkInspect:
    """The wire form. inside: endpoints by container ID."""
    options = dict(record.options)
    if record.name == "bridge":
        options = {
            "com.docker.network.bridge.default_bridge": "true",
            "com.docker.network.bridge.enable_icc": "true",
            "com.docker.network.bridge.enable_ip_masquerade": "true",
            "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
            "com.docker.network.bridge.name": record.link,
            "com.docker.network.driver.mtu": str(mtu),
        }
    pools = [
        IPAMConfig(subnet=s.network, ip_range=s.ip_range, gateway="" if s.implicit else s.gateway, auxiliary_addresses=s.auxiliary or None)
        for s in record.subnets
    ]  # fmt: skip
    config_only = record.config_only
    containers = {
        container: NetworkContainer(
            name=container_name(container), endpoint_id=endpoint.endpoint_id, mac_address=endpoint.mac, ipv4_address=endpoint.cidr,
            ipv6_address=endpoint.cidr6,
        )
        for container, endpoint in inside.items()
    }  # fmt: skip
    return NetworkInspect(
        name=record.name, id=record.id, created=_rfc3339(record.created_ns), driver=record.driver, enable_ipv4=record.ipv4, enable_ipv6=record.ipv6,
        ipam=IPAM(config=pools or ([] if config_only or not record.predefined else None), options=record.ipam_options), internal=record.internal,
        attachable=record.attachable, config_from=ConfigReference(network=record.config_from), config_only=config_only, containers=containers,
        options=options, labels=dict(record.labels),
    )  # fmt: skip
