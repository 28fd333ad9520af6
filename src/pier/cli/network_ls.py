"""`pier network ls`: the networks."""

from pier.cli.format_help import TABLE_FORMAT_HELP
from pier.cli.formats import Row, filter_value, filters, write
from pier.cli.session import Cli

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS]"
SHORT = "List networks"
ALIASES = ("network ls", "network list")
FLAGS = (
    ("filter", "f", "filter", 'Provide filter values (e.g. "driver=bridge")'),
    ("format", "", "string", TABLE_FORMAT_HELP),
    ("no-trunc", "", "bool", "Do not truncate the output"),
    ("quiet", "q", "bool", "Only display network IDs"),
)
PARSERS = {"filter": filter_value}
ARGS = (0, 0)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """List; 0."""
    found = cli.client().get("/networks", filters(options.many("filter"))) or []
    whole = options.flag("no-trunc")
    rows = sorted((NetworkRow(network, whole) for network in found), key=lambda row: row.Name())
    text = options.text("format") or ("" if options.flag("quiet") else cli.setting("networksFormat"))
    if options.flag("quiet") and not text:
        cli.out("".join(row.ID() + "\n" for row in rows))
    else:
        write(cli, text, ("ID", "Name", "Driver", "Scope"), rows, NetworkRow)
    return 0


class NetworkRow(Row):
    """A network."""

    TYPE = "*network.networkContext"
    FIELDS = ("CreatedAt", "Driver", "ID", "IPv4", "IPv6", "Internal", "Labels", "Name", "Scope")
    HEADERS = {  # noqa: RUF012
        "ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv4": "IPV4", "IPv6": "IPV6", "Internal": "INTERNAL",
        "Labels": "LABELS", "CreatedAt": "CREATED AT",
    }  # fmt: skip

    def __init__(self, data: "dict[str, Any]", whole: bool = True) -> None:
        self.data, self.whole = data, whole

    def ID(self) -> str:
        """Its ID, twelve digits of it unless all were asked for."""
        return str(self.data.get("Id", ""))[: None if self.whole else 12]

    def Name(self) -> str:
        """Its name."""
        return str(self.data.get("Name", ""))

    def Driver(self) -> str:
        """Its driver."""
        return str(self.data.get("Driver", ""))

    def Scope(self) -> str:
        """`local`."""
        return str(self.data.get("Scope", ""))

    def IPv4(self) -> str:
        """Whether it has IPv4."""
        return "true" if self.data.get("EnableIPv4") else "false"

    def IPv6(self) -> str:
        """Whether it has IPv6."""
        return "true" if self.data.get("EnableIPv6") else "false"

    def Internal(self) -> str:
        """Whether it leads nowhere."""
        return "true" if self.data.get("Internal") else "false"

    def Labels(self) -> str:
        """`a=b,c=d`."""
        return ",".join(f"{key}={value}" for key, value in sorted((self.data.get("Labels") or {}).items()))

    def Label(self, name: str) -> str:
        """One label."""
        return str((self.data.get("Labels") or {}).get(name, ""))

    def CreatedAt(self) -> str:
        """When it was made, in UTC."""
        date, _, rest = str(self.data.get("Created", "")).partition("T")
        return f"{date} {rest.removesuffix('Z')} +0000 UTC"
