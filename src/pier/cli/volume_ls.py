"""`pier volume ls`: the volumes."""

from pier.cli.format_help import TABLE_FORMAT_HELP
from pier.cli.formats import Row, filter_value, filters, write
from pier.cli.session import Cli
from pier.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS]"
SHORT = "List volumes"
ALIASES = ("volume ls", "volume list")
FLAGS = (
    ("cluster", "", "bool", "Display only cluster volumes, and use cluster volume list formatting"),
    ("filter", "f", "filter", 'Provide filter values (e.g. "dangling=true")'),
    ("format", "", "string", TABLE_FORMAT_HELP),
    ("quiet", "q", "bool", "Only display volume names"),
)
LATER = frozenset(["cluster"])
PARSERS = {"filter": filter_value}
ARGS = (0, 0)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """List; 0."""
    found = cli.client().get("/volumes", filters(options.many("filter"))).get("Volumes") or []
    rows = sorted((VolumeRow(volume) for volume in found), key=lambda row: row.Name())
    text = options.text("format") or ("" if options.flag("quiet") else cli.setting("volumesFormat"))
    if options.flag("quiet") and not text:
        cli.out("".join(row.Name() + "\n" for row in rows))
    else:
        write(cli, text, ("Driver", "Name"), rows, VolumeRow)
    return 0


class VolumeRow(Row):
    """A volume."""

    TYPE = "*formatter.volumeContext"
    FIELDS = ("Availability", "Driver", "Group", "Labels", "Links", "Mountpoint", "Name", "Scope", "Size", "Status")
    HEADERS = {  # noqa: RUF012
        "Driver": "DRIVER", "Name": "VOLUME NAME", "Labels": "LABELS", "Links": "LINKS", "Mountpoint": "MOUNTPOINT", "Scope": "SCOPE", "Size": "SIZE",
        "Availability": "AVAILABILITY", "Group": "GROUP", "Status": "STATUS",
    }  # fmt: skip

    def __init__(self, data: "dict[str, Any]") -> None:
        self.data = data
        self.usage = data.get("UsageData") or {}

    def Name(self) -> str:
        """Its name."""
        return str(self.data.get("Name", ""))

    def Driver(self) -> str:
        """Its driver."""
        return str(self.data.get("Driver", ""))

    def Scope(self) -> str:
        """`local`."""
        return str(self.data.get("Scope", ""))

    def Mountpoint(self) -> str:
        """The host's path of its files."""
        return str(self.data.get("Mountpoint", ""))

    def Labels(self) -> str:
        """`a=b,c=d`."""
        return ",".join(f"{key}={value}" for key, value in sorted((self.data.get("Labels") or {}).items()))

    def Label(self, name: str) -> str:
        """One label."""
        return str((self.data.get("Labels") or {}).get(name, ""))

    def Links(self) -> str:
        """How many containers have it, where that is known."""
        return str(self.usage["RefCount"]) if "RefCount" in self.usage else "N/A"

    def Size(self) -> str:
        """What it takes, where that is known."""
        return human_size(self.usage["Size"]) if "Size" in self.usage else "N/A"

    def Availability(self) -> str:
        """Of cluster volumes, which there are none of."""
        return "N/A"

    def Group(self) -> str:
        """Of cluster volumes, which there are none of."""
        return "N/A"

    def Status(self) -> str:
        """Of cluster volumes, which there are none of."""
        return "N/A"
