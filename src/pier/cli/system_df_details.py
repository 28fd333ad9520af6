"""`pier system df --verbose`: every image, container, volume and cached step with what it takes."""

from pier.cli import units
from pier.cli.formats import Row, write
from pier.cli.images import NONE, ImageRow, split_tag
from pier.cli.ps import RAW as RAW_CONTAINER
from pier.cli.ps import ContainerRow
from pier.cli.session import Cli, CommandError
from pier.cli.system_df import BuildCache, VolumesTrash
from pier.cli.units import human_size
from pier.cli.volume_ls import VolumeRow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

RAW_IMAGE = (
    "type: Image\nrepository: {{.Repository}}\ntag: {{.Tag}}\ndigest: {{.Digest}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\n"
    "virtual_size: {{.Size}}\n"
)
RAW_CACHE = (
    "type: Build Cache\nbuild_cache_id: {{.ID}}\nparent_id: {{.Parent}}\nbuild_cache_type: {{.CacheType}}\ndescription: {{.Description}}\n"
    "created_at: {{.CreatedAt}}\ncreated_since: {{.CreatedSince}}\nlast_used_at: {{.LastUsedAt}}\nlast_used_since: {{.LastUsedSince}}\n"
    "usage_count: {{.UsageCount}}\nin_use: {{.InUse}}\nshared: {{.Shared}}\n"
)


def show(cli: Cli, text: str, usage: "dict[str, Any]") -> None:
    """Write it as `text` says. Raises CommandError for a wrong template."""
    text = text.strip(" ")
    trunc = text in ("", "table")
    everything = Everything(usage, trunc)
    if trunc:
        cli.out("Images space usage:\n\n")
        write(cli, "", ("Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers"), everything.images, ImageRow)
        cli.out("\nContainers space usage:\n\n")
        columns = ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names")
        write(cli, "", columns, everything.containers, ContainerRow)
        cli.out("\nLocal Volumes space usage:\n\n")
        write(cli, "", ("Name", "Links", "Size"), everything.volumes, VolumeRow)
        if usage.get("VolumesTrash"):
            trash = VolumesTrash(usage)
            cli.out(f"\nVolumes trash usage: {trash.Size()} in {trash.TotalCount()} (pier volume trash)\n")
        cli.out(f"\nBuild cache usage: {BuildCache(usage).Size()}\n\n")
        write(cli, "", ("ID", "CacheType", "Size", "CreatedSince", "LastUsedSince", "UsageCount", "Shared"), everything.cache, CacheRow)
    elif text == "raw":
        write(cli, RAW_IMAGE, (), everything.images, ImageRow)
        write(cli, "type: Container\n" + RAW_CONTAINER + "size: {{.Size}}\n", (), everything.containers, ContainerRow)
        write(cli, "type: Volume\nname: {{.Name}}\ndriver: {{.Driver}}\n", (), everything.volumes, VolumeRow)
        write(cli, RAW_CACHE, (), everything.cache, CacheRow)
    elif text == "json":
        cli.out(everything.to_json())
    else:
        cli.out(_executed(text.removeprefix("table").lstrip(" "), everything))


def _executed(text: str, everything: "Everything") -> str:
    from pier.cli.goformat.evaluate import ExecuteError, execute
    from pier.cli.goformat.parse import ParseError, parse

    try:
        return execute(parse(text.replace("\\t", "\t").replace("\\n", "\n")), everything)
    except (ParseError, ExecuteError) as error:
        raise CommandError(f"template: :{error}") from None


class Everything(Row):
    """What a template is given: four lists."""

    TYPE = "*formatter.diskUsageContext"
    FIELDS = ("Images", "Containers", "Volumes", "BuildCache")

    def __init__(self, usage: "dict[str, Any]", trunc: bool) -> None:
        self.images = [image_row(image, trunc) for image in usage.get("Images") or []]
        # The writable layer alone: what it stands on is counted with the images.
        self.containers = [ContainerRow({**one, "SizeRootFs": 0}, trunc) for one in usage.get("Containers") or []]
        self.volumes = [VolumeRow(volume) for volume in usage.get("Volumes") or []]
        steps = sorted(usage.get("BuildCache") or [], key=lambda step: (step.get("LastUsedAt") or "", step.get("ID") or ""))
        self.cache = [CacheRow(step, trunc) for step in steps]

    def Images(self) -> "Sequence[Row]":
        """Every image, once."""
        return self.images

    def Containers(self) -> "Sequence[Row]":
        """Every container."""
        return self.containers

    def Volumes(self) -> "Sequence[Row]":
        """Every volume."""
        return self.volumes

    def BuildCache(self) -> "Sequence[Row]":
        """Every cached step."""
        return self.cache

    def to_json(self) -> str:
        """One object, in this order."""
        return "{" + ",".join(f'"{name}":[{",".join(row.to_json() for row in self.get(name))}]' for name in self.FIELDS) + "}"


def image_row(image: "dict[str, Any]", trunc: bool) -> ImageRow:
    """One row for an image, by its first tag."""
    tags = [tag for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"]
    repository, tag = split_tag(tags[0]) if tags else (NONE, NONE)
    return ImageRow(image, trunc, repository, tag, "")


class CacheRow(Row):
    """A cached step of a build. (Pier keeps none yet; the daemon may be another engine.)"""

    TYPE = "*formatter.buildCacheContext"
    FIELDS = (
        "CacheType", "CreatedAt", "CreatedSince", "Description", "ID", "InUse", "LastUsedAt", "LastUsedSince", "Parent", "Shared", "Size",
        "UsageCount",
    )  # fmt: skip
    HEADERS = {  # noqa: RUF012
        "ID": "CACHE ID", "Parent": "PARENT", "CacheType": "CACHE TYPE", "Size": "SIZE", "CreatedSince": "CREATED", "LastUsedSince": "LAST USED",
        "UsageCount": "USAGE", "Shared": "SHARED",
    }  # fmt: skip

    def __init__(self, data: "dict[str, Any]", trunc: bool) -> None:
        self.data = data
        self.trunc = trunc

    def ID(self) -> str:
        """The ID, a star behind it while a build uses it."""
        identity = str(self.data.get("ID") or "")
        return (units.short_id(identity) if self.trunc else identity) + ("*" if self.data.get("InUse") else "")

    def Parent(self) -> str:
        """The step before, as daemons before API 1.42 tell it."""
        text = str(self.data.get("Parent") or "")
        return units.short_id(text) if self.trunc else text

    def CacheType(self) -> str:
        """Its kind."""
        return str(self.data.get("Type") or "")

    def Description(self) -> str:
        """What it did."""
        return str(self.data.get("Description") or "")

    def Size(self) -> str:
        """What it takes."""
        return human_size(self.data.get("Size") or 0, 3)

    def CreatedAt(self) -> str:
        """When it was made."""
        return _moment(self.data.get("CreatedAt"))

    def CreatedSince(self) -> str:
        """How long ago that was."""
        return _ago(self.data.get("CreatedAt"))

    def LastUsedAt(self) -> str:
        """When it was used."""
        return _moment(self.data.get("LastUsedAt"))

    def LastUsedSince(self) -> str:
        """How long ago that was."""
        return _ago(self.data.get("LastUsedAt"))

    def UsageCount(self) -> str:
        """How often it was used."""
        return str(self.data.get("UsageCount") or 0)

    def InUse(self) -> str:
        """Whether a build uses it."""
        return "true" if self.data.get("InUse") else "false"

    def Shared(self) -> str:
        """Whether it is another's, too."""
        return "true" if self.data.get("Shared") else "false"


def _moment(text: "str | None") -> str:
    return text.replace("T", " ").replace("Z", " +0000 UTC") if text else ""


def _ago(text: "str | None") -> str:
    if not text:
        return ""
    from calendar import timegm
    from time import strptime

    return units.since(timegm(strptime(text[:19], "%Y-%m-%dT%H:%M:%S")))
