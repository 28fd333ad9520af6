"""`pier ps`: the containers, newest first."""

from pier.cli import units
from pier.cli.flags import go_quote
from pier.cli.format_help import TABLE_FORMAT_HELP
from pier.cli.formats import Row, filter_value, filters, write
from pier.cli.session import Cli

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS]"
SHORT = "List containers"
ALIASES = ("container ls", "container list", "container ps", "ps")
FLAGS = (
    ("all", "a", "bool", "Show all containers (default shows just running)"),
    ("filter", "f", "filter", "Filter output based on conditions provided"),
    ("format", "", "string", TABLE_FORMAT_HELP),
    ("last", "n", "int", "Show n last created containers (includes all states) (default -1)"),
    ("latest", "l", "bool", "Show the latest created container (includes all states)"),
    ("no-trunc", "", "bool", "Don't truncate output"),
    ("quiet", "q", "bool", "Only display container IDs"),
    ("size", "s", "bool", "Display total file sizes"),
)
DEFAULTS = {"last": -1}
PARSERS = {"filter": filter_value}
ARGS = (0, 0)
COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
RAW = (
    "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{.State}}\nstatus: {{.Status}}\n"
    "names: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n"
)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """List; 0."""
    params = []
    text = options.text("format") or cli.setting("psFormat")
    quiet = options.flag("quiet")
    # The sizes cost the daemon a walk over each container: asked for only where they are shown.
    with_size = options.flag("size") or (not quiet and (".Size" in text or "{{json .}}" in text))
    last = 1 if options.flag("latest") and options.number("last") == -1 else options.number("last")
    if options.flag("all"):
        params.append(("all", "1"))
    params += filters(options.many("filter"))
    if last > 0:
        params.append(("limit", str(last)))
    if with_size and not quiet:
        params.append(("size", "1"))
    found = cli.client().get("/containers/json", params)
    rows = [ContainerRow(item, not options.flag("no-trunc")) for item in found or []]
    if quiet and not options.text("format"):
        cli.out("".join(row.ID() + "\n" for row in rows))
        return 0
    columns = (*COLUMNS, "Size") if options.flag("size") else COLUMNS
    if text == "raw":
        text = "container_id: {{.ID}}" if quiet else RAW + ("size: {{.Size}}\n" if options.flag("size") else "")
    write(cli, text, columns, rows, ContainerRow, [ContainerRow({"Id": ""}, True)])
    return 0


class ContainerRow(Row):
    """A container, as /containers/json tells it."""

    TYPE = "*formatter.ContainerContext"
    FIELDS = (
        "Command", "CreatedAt", "ID", "Image", "Labels", "LocalVolumes", "Mounts", "Names", "Networks", "Platform", "Ports", "RunningFor",
        "Size", "State", "Status",
    )  # fmt: skip
    CALLS = frozenset(["Label"])
    HEADERS = {  # noqa: RUF012
        "ID": "CONTAINER ID", "Names": "NAMES", "Image": "IMAGE", "Command": "COMMAND", "CreatedAt": "CREATED AT", "RunningFor": "CREATED",
        "Ports": "PORTS", "State": "STATE", "Status": "STATUS", "Size": "SIZE", "Labels": "LABELS", "Mounts": "MOUNTS",
        "LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS", "Platform": "PLATFORM",
    }  # fmt: skip

    def __init__(self, data: "dict[str, Any]", trunc: bool) -> None:
        self.data = data
        self.trunc = trunc

    def ID(self) -> str:
        """The ID, 12 characters where cut."""
        return units.short_id(self.data["Id"]) if self.trunc else str(self.data["Id"])

    def Names(self) -> str:
        """Names without their slash; names that links gave only where nothing is cut."""
        names = [name.removeprefix("/") for name in self.data.get("Names") or []]
        return ",".join(name for name in names if not self.trunc or "/" not in name)

    def Image(self) -> str:
        """The image as it was named."""
        image = str(self.data.get("Image") or "<no image>")
        if not self.trunc:
            return image
        if units.short_id(self.data.get("ImageID") or "") == units.short_id(image):
            return units.short_id(image)
        return image.partition("@")[0] if not image.startswith("sha256:") else image

    def Command(self) -> str:
        """The command in quotes."""
        command = str(self.data.get("Command") or "")
        return go_quote(units.ellipsis(command, 20) if self.trunc else command)

    def CreatedAt(self) -> str:
        """When it was made."""
        return units.go_time(self.data.get("Created") or 0)

    def RunningFor(self) -> str:
        """How long ago it was made."""
        return units.since(self.data.get("Created") or 0)

    def Platform(self) -> "dict[str, Any] | None":
        """The platform of the image where the daemon tells it."""
        descriptor = self.data.get("ImageManifestDescriptor") or {}
        return descriptor.get("platform")

    def Ports(self) -> str:
        """Published and exposed ports."""
        ports = self.data.get("Ports")
        if not ports:
            return ""
        from pier.cli.ports import display

        return display(ports)

    def State(self) -> str:
        """One word: running, exited, ..."""
        return str(self.data.get("State") or "")

    def Status(self) -> str:
        """What the daemon says of it: `Up 2 minutes`."""
        return str(self.data.get("Status") or "")

    def Size(self) -> str:
        """The size of the writable layer, and with the image."""
        written = units.human_size(self.data.get("SizeRw") or 0, 3)
        total = self.data.get("SizeRootFs") or 0
        return f"{written} (virtual {units.human_size(total, 3)})" if total else written

    def Labels(self) -> str:
        """All labels."""
        labels = self.data.get("Labels") or {}
        return ",".join(sorted(f"{name}={value}" for name, value in labels.items()))

    def Label(self, name: str) -> str:
        """One label."""
        return str((self.data.get("Labels") or {}).get(name, ""))

    def Mounts(self) -> str:
        """Volumes and bound paths."""
        names = [str(mount.get("Name") or mount.get("Source") or "") for mount in self.data.get("Mounts") or []]
        return ",".join(units.ellipsis(name, 15) if self.trunc else name for name in names)

    def LocalVolumes(self) -> str:
        """How many local volumes."""
        return str(sum(mount.get("Driver") == "local" for mount in self.data.get("Mounts") or []))

    def Networks(self) -> str:
        """The networks that it is in."""
        return ",".join(sorted((self.data.get("NetworkSettings") or {}).get("Networks") or {}))
