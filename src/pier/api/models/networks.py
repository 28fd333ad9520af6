"""The wire types of networks: GET /networks, /networks/{id}, and a container's endpoints."""

from msgspec import field

from pier.api.models.base import Model


class EndpointIPAMConfig(Model, omit_defaults=True):
    """Addresses that somebody wants an endpoint to have."""

    ipv4_address: str = field(name="IPv4Address", default="")
    ipv6_address: str = field(name="IPv6Address", default="")
    link_local_ips: list[str] | None = field(name="LinkLocalIPs", default=None)


class EndpointSettings(Model):
    """A container's place in one network: what was asked for, then what it has while it runs."""

    ipam_config: EndpointIPAMConfig | None = field(name="IPAMConfig", default=None)
    links: list[str] | None = None
    aliases: list[str] | None = None
    mac_address: str = ""
    driver_opts: dict[str, str] | None = None
    gw_priority: int = 0
    network_id: str = field(name="NetworkID", default="")
    endpoint_id: str = field(name="EndpointID", default="")
    gateway: str = ""
    ip_address: str = field(name="IPAddress", default="")
    ip_prefix_len: int = field(name="IPPrefixLen", default=0)
    ipv6_gateway: str = field(name="IPv6Gateway", default="")
    global_ipv6_address: str = field(name="GlobalIPv6Address", default="")
    global_ipv6_prefix_len: int = field(name="GlobalIPv6PrefixLen", default=0)
    dns_names: list[str] | None = field(name="DNSNames", default=None)


class IPAMConfig(Model, omit_defaults=True):
    """One pool of addresses."""

    subnet: str = ""
    ip_range: str = field(name="IPRange", default="")
    gateway: str = ""
    auxiliary_addresses: dict[str, str] | None = None


class IPAM(Model):
    """Where a network's addresses come from."""

    driver: str = "default"
    options: dict[str, str] | None = None
    config: list[IPAMConfig] | None = None


class ConfigReference(Model):
    """The network that another takes its settings from."""

    network: str = ""


class NetworkCreate(Model, kw_only=True):
    """POST /networks/create."""

    name: str = ""
    driver: str = ""
    scope: str = ""
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: ConfigReference | None = None
    ipam: IPAM | None = field(name="IPAM", default=None)
    enable_ipv4: bool | None = field(name="EnableIPv4", default=None)
    enable_ipv6: bool | None = field(name="EnableIPv6", default=None)
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class NetworkCreated(Model):
    """The answer to it."""

    id: str = ""
    warning: str = ""


class NetworkConnect(Model):
    """POST /networks/{id}/connect."""

    container: str = ""
    endpoint_config: EndpointSettings | None = None


class NetworkDisconnect(Model):
    """POST /networks/{id}/disconnect."""

    container: str = ""
    force: bool = False


class NetworksPruned(Model):
    """POST /networks/prune."""

    networks_deleted: list[str] | None = None


class NetworkContainer(Model):
    """A container in a network."""

    name: str = ""
    endpoint_id: str = field(name="EndpointID", default="")
    mac_address: str = ""
    ipv4_address: str = field(name="IPv4Address", default="")
    ipv6_address: str = field(name="IPv6Address", default="")


class NetworkInspect(Model, kw_only=True):
    """A network; in the list `Containers` is empty, as in Docker."""

    name: str
    id: str
    created: str
    scope: str = "local"
    driver: str
    enable_ipv4: bool = field(name="EnableIPv4", default=True)
    enable_ipv6: bool = field(name="EnableIPv6", default=False)
    ipam: IPAM = field(name="IPAM")
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_from: ConfigReference = field(default_factory=ConfigReference)
    config_only: bool = False
    containers: dict[str, NetworkContainer] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
