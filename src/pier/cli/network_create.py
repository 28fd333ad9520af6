"""`pier network create`: make a network."""

from pier.cli.session import Cli
from pier.cli.volume_create import pairs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

EGRESS = "com.pier.egress"
USAGE = "[OPTIONS] NETWORK"
SHORT = "Create a network"
FLAGS = (
    ("attachable", "", "bool", "Enable manual container attachment"),
    ("aux-address", "", "map", "Auxiliary IPv4 or IPv6 addresses used by Network driver (default map[])"),
    ("config-from", "", "string", "The network from which to copy the configuration"),
    ("config-only", "", "bool", "Create a configuration only network"),
    ("driver", "d", "string", 'Driver to manage the Network (default "bridge")'),
    ("egress", "", "list", "Let containers reach these networks and names only (10.0.0.0/8, example.com:443, none)"),
    ("gateway", "", "list", "IPv4 or IPv6 Gateway for the master subnet"),
    ("ingress", "", "bool", "Create swarm routing-mesh network"),
    ("internal", "", "bool", "Restrict external access to the network"),
    ("ip-range", "", "list", "Allocate container ip from a sub-range"),
    ("ipam-driver", "", "string", 'IP Address Management Driver (default "default")'),
    ("ipam-opt", "", "map", "Set IPAM driver specific options (default map[])"),
    ("ipv4", "", "bool", "Enable or disable IPv4 address assignment (default true)"),
    ("ipv6", "", "bool", "Enable or disable IPv6 address assignment"),
    ("label", "", "list", "Set metadata on a network"),
    ("opt", "o", "map", "Set driver specific options (default map[])"),
    ("scope", "", "string", "Control the network's scope"),
    ("subnet", "", "list", "Subnet in CIDR format that represents a network segment"),
)
DEFAULTS = {"driver": "bridge", "ipam-driver": "default", "ipv4": True}
ARGS = (1, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Create it; prints its ID."""
    body: dict[str, Any] = {
        "Name": args[0],
        "Driver": options.text("driver"),
        "Scope": options.text("scope"),
        "IPAM": {
            "Driver": options.text("ipam-driver"),
            "Options": pairs(options.many("ipam-opt")),
            "Config": pools(options.many("subnet"), options.many("ip-range"), options.many("gateway"), pairs(options.many("aux-address"))),
        },
        "Internal": options.flag("internal"),
        "Attachable": options.flag("attachable"),
        "Ingress": options.flag("ingress"),
        "ConfigOnly": options.flag("config-only"),
        "Options": {**pairs(options.many("opt")), **({EGRESS: ",".join(options.many("egress"))} if options.many("egress") else {})},
        "Labels": pairs(options.many("label")),
    }
    if "ipv4" in options.given:
        body["EnableIPv4"] = options.flag("ipv4")
    if "ipv6" in options.given:
        body["EnableIPv6"] = options.flag("ipv6")
    if options.text("config-from"):
        body["ConfigFrom"] = {"Network": options.text("config-from")}
    made = cli.client().post("/networks/create", body=body)
    cli.out(made["Id"] + "\n")
    for line in (made.get("Warning") or "").splitlines():
        cli.err(f"WARNING: {line}\n")
    return 0


def pools(subnets: list[str], ranges: list[str], gateways: list[str], auxiliary: dict[str, str]) -> "list[dict[str, Any]]":
    """The pools of the request: each range, gateway and auxiliary address goes to the subnet that holds it. Raises ValueError with Docker's texts."""
    if not subnets:
        if ranges or gateways or auxiliary:
            raise ValueError("every ip-range or gateway must have a corresponding subnet")
        return []
    from ipaddress import ip_network

    def network(text: str) -> "Any":
        try:
            return ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"invalid CIDR address: {text}") from None

    known = [(text, network(text), {"Subnet": text}) for text in subnets]
    for position, (_, one, _) in enumerate(known):
        for _, other, _ in known[:position]:
            if one.version == other.version and one.overlaps(other):
                raise ValueError("multiple overlapping subnet configuration is not supported")

    def pool(what: str, text: str) -> "dict[str, Any]":
        for _, each, found in known:
            wanted = network(text)
            if wanted.version == each.version and wanted.subnet_of(each):
                return found
        raise ValueError(f"no matching subnet for {what} {text}")

    for kind, key, values in (("range", "IPRange", ranges), ("gateway", "Gateway", gateways)):
        for text in values:
            found = pool(kind, text)
            if key in found:
                raise ValueError(f"cannot configure multiple {kind}s ({text}, {found[key]}) on the same subnet ({found['Subnet']})")
            found[key] = text
    for name, text in auxiliary.items():
        pool("aux-address", text).setdefault("AuxiliaryAddresses", {})[name] = text
    return [found for _, _, found in known]
