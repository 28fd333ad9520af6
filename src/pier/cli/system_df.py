"""`pier system df`: what is on the disk, and how much of it nothing uses."""

from pier.cli.format_help import TABLE_FORMAT_HELP
from pier.cli.formats import Row, write
from pier.cli.session import Cli
from pier.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS]"
SHORT = "Show disk usage"
FLAGS = (
    ("format", "", "string", TABLE_FORMAT_HELP),
    ("verbose", "v", "bool", "Show detailed information on space usage"),
)
ARGS = (0, 0)
ALIVE = ("running", "paused", "restarting")
RAW = "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\nreclaimable: {{.Reclaimable}}\n"


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Show; 0."""
    usage = cli.client().get("/system/df")
    if options.flag("verbose"):
        from pier.cli.system_df_details import show

        show(cli, options.text("format"), usage)
        return 0
    text = RAW if options.text("format") == "raw" else options.text("format")
    rows = [Images(usage), Containers(usage), Volumes(usage), BuildCache(usage)]
    if usage.get("VolumesTrash"):
        rows.append(VolumesTrash(usage))
    write(cli, text, ("Type", "TotalCount", "Active", "Size", "Reclaimable"), rows, Images)
    return 0


class Kind(Row):
    """One kind of things, summed up. Subclasses give the things and what of them counts."""

    FIELDS = ("Active", "Reclaimable", "Size", "TotalCount", "Type")
    HEADERS = {"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}  # noqa: RUF012
    ERRORS = ("template parsing error", "template parsing error")
    TITLE = KEY = ""

    def __init__(self, usage: "dict[str, Any]") -> None:
        self.things: list[dict[str, Any]] = usage.get(self.KEY) or []
        self.usage = usage

    def active(self, thing: "dict[str, Any]") -> bool:
        """Whether something uses it."""
        raise NotImplementedError

    def total_bytes(self) -> int:
        """What all of them take."""
        return sum(self.size_bytes(thing) for thing in self.things)

    def size_bytes(self, thing: "dict[str, Any]") -> int:
        """What one of them takes."""
        raise NotImplementedError

    def free_bytes(self) -> int:
        """What would be free without those that nothing uses."""
        return sum(self.size_bytes(thing) for thing in self.things if not self.active(thing))

    def Type(self) -> str:
        """What they are."""
        return self.TITLE

    def TotalCount(self) -> str:
        """How many."""
        return str(len(self.things))

    def Active(self) -> str:
        """How many of them something uses."""
        return str(sum(map(self.active, self.things)))

    def Size(self) -> str:
        """What all of them take."""
        return human_size(self.total_bytes())

    def Reclaimable(self) -> str:
        """What would be free, and how much of the whole that is."""
        total, free = self.total_bytes(), self.free_bytes()
        return f"{human_size(free)} ({free * 100 // total}%)" if total > 0 else human_size(free)


class Images(Kind):
    """Images: what they share is counted once, in the total; what used ones have for themselves is not free."""

    TYPE = "*formatter.diskUsageImagesContext"
    TITLE = KEY = "Images"

    def active(self, thing: "dict[str, Any]") -> bool:
        """Whether a container uses it."""
        return int(thing.get("Containers") or 0) > 0

    def total_bytes(self) -> int:
        """Layers and blobs."""
        return int(self.usage.get("LayersSize") or 0)

    def free_bytes(self) -> int:
        """All but what used images have for themselves."""
        known = [one for one in self.things if self.active(one) and one.get("Size", -1) != -1 and one.get("SharedSize", -1) != -1]
        return max(0, self.total_bytes() - sum(int(one["Size"]) - int(one["SharedSize"]) for one in known))


class Containers(Kind):
    """Containers: what they wrote."""

    TYPE = "*formatter.diskUsageContainersContext"
    TITLE = KEY = "Containers"

    def active(self, thing: "dict[str, Any]") -> bool:
        """Whether it runs."""
        return thing.get("State") in ALIVE

    def size_bytes(self, thing: "dict[str, Any]") -> int:
        """What it wrote."""
        return int(thing.get("SizeRw") or 0)


class Volumes(Kind):
    """Local volumes."""

    TYPE = "*formatter.diskUsageVolumesContext"
    TITLE, KEY = "Local Volumes", "Volumes"

    def active(self, thing: "dict[str, Any]") -> bool:
        """Whether a container has it."""
        return int((thing.get("UsageData") or {}).get("RefCount") or 0) > 0

    def size_bytes(self, thing: "dict[str, Any]") -> int:
        """What is in it, where that is known."""
        return max(0, int((thing.get("UsageData") or {}).get("Size") or 0))


class VolumesTrash(Kind):
    """Removed volumes that stay for a while: a row where there are any, all of it to be had back (`pier volume trash --empty`)."""

    TYPE = "*formatter.diskUsageVolumesTrashContext"
    TITLE = "Volumes Trash"

    def TotalCount(self) -> str:
        """How many."""
        return str(self.usage["VolumesTrash"].get("Count") or 0)

    def total_bytes(self) -> int:
        """What they took when they were removed."""
        return int(self.usage["VolumesTrash"].get("Size") or 0)

    free_bytes = total_bytes


class BuildCache(Kind):
    """Cached steps of builds."""

    TYPE = "*formatter.diskUsageBuilderContext"
    TITLE, KEY = "Build Cache", "BuildCache"

    def active(self, thing: "dict[str, Any]") -> bool:
        """Whether a build is using it."""
        return bool(thing.get("InUse"))

    def size_bytes(self, thing: "dict[str, Any]") -> int:
        """What it takes; what it shares with others is theirs."""
        return 0 if thing.get("Shared") else int(thing.get("Size") or 0)

    def Reclaimable(self) -> str:
        """What would be free."""
        return human_size(self.free_bytes())
