"""`pier network connect`: connect a container, running or not."""

from pier.cli.flags import go_quote
from pier.cli.session import Cli
from pier.cli.volume_create import pairs
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS] NETWORK CONTAINER"
SHORT = "Connect a container to a network"
FLAGS = (
    ("alias", "", "list", "Add network-scoped alias for the container"),
    ("driver-opt", "", "list", "driver options for the network"),
    ("gw-priority", "", "int", "Highest gw-priority provides the default gateway. Accepts positive and negative values."),
    ("ip", "", "string", "IPv4 address (e.g., \"172.30.100.104\")"),
    ("ip6", "", "string", "IPv6 address (e.g., \"2001:db8::33\")"),
    ("link", "", "list", "Add link to another container"),
    ("link-local-ip", "", "list", "Add a link-local address for the container"),
)
ARGS = (2, 2)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Connect; says nothing."""
    from pier.cli.container_values import is_address

    config: dict[str, Any] = {}
    if options.many("link-local-ip"):
        config["LinkLocalIPs"] = options.many("link-local-ip")
    for flag, key in (("ip", "IPv4Address"), ("ip6", "IPv6Address")):
        text = options.text(flag)
        if text and not is_address(text):
            raise ValueError(f"invalid argument {go_quote(text)} for \"--{flag}\" flag: invalid string being converted to IP")
        if text:
            config[key] = text
    settings = {
        "IPAMConfig": config,
        "Links": options.many("link"),
        "Aliases": options.many("alias"),
        "DriverOpts": pairs(options.many("driver-opt")),
        "GwPriority": options.number("gw-priority"),
    }
    cli.client().post(f"/networks/{segment(args[0])}/connect", body={"Container": args[1], "EndpointConfig": settings})
    return 0
