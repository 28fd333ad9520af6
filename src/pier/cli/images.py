"""`pier images`: the images, newest first; one row for each tag."""

from pier.cli import units
from pier.cli.format_help import TABLE_FORMAT_HELP
from pier.cli.formats import Row, filter_value, filters, write
from pier.cli.session import Cli, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS] [REPOSITORY[:TAG]]"
SHORT = "List images"
ALIASES = ("image ls", "image list", "images")
FLAGS = (
    ("all", "a", "bool", "Show all images (default hides intermediate images)"),
    ("digests", "", "bool", "Show digests"),
    ("filter", "f", "filter", "Filter output based on conditions provided"),
    ("format", "", "string", TABLE_FORMAT_HELP),
    ("no-trunc", "", "bool", "Don't truncate output"),
    ("quiet", "q", "bool", "Only show image IDs"),
    ("tree", "", "bool", "List multi-platform images as a tree (EXPERIMENTAL)"),
)
PARSERS = {"filter": filter_value}
ARGS = (0, 1)
NONE = "<none>"


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """List; 0."""
    params = [("all", "1")] if options.flag("all") else []
    wanted = options.many("filter") + ([f"reference={args[0]}"] if args else [])
    params += filters(wanted)
    if options.flag("tree"):
        return tree(cli, options, params)
    found = cli.client().get("/images/json", params) or []
    text = options.text("format") or cli.setting("imagesFormat")
    digests = options.flag("digests")
    with_digest = digests or ".Digest" in text
    trunc = not options.flag("no-trunc")
    rows = [row for image in found for row in rows_of(image, trunc, with_digest)]
    if options.flag("quiet") and not options.text("format"):
        cli.out("".join(row.ID() + "\n" for row in rows))
        return 0
    columns = ("Repository", "Tag", *(["Digest"] if digests else []), "ID", "CreatedSince", "Size")
    if text == "raw":
        text = "repository: {{.Repository}}\ntag: {{.Tag}}\n" + ("digest: {{.Digest}}\n" if digests else "")
        text += "image_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n"
    write(cli, text, columns, rows, ImageRow)
    return 0


def tree(cli: Cli, options: "Options", params: "list[tuple[str, str]]") -> int:
    """List by names and platforms; 0. Raises CommandError for a flag that does not go with it."""
    for name, shown in (("quiet", "quiet"), ("no-trunc", "no-trunc"), ("digests", "show-digest"), ("format", "format")):
        if options.values[name]:
            raise CommandError(f"--{shown} is not yet supported with --tree")
    from pier.cli.image_tree import show

    show(cli, cli.client().get("/images/json", [*params, ("manifests", "1")]) or [], options.flag("all"))
    return 0


def split_tag(reference: str) -> tuple[str, str]:
    """(repository, tag) of `repo:tag`."""
    head, colon, tail = reference.rpartition(":")
    return (head, tail) if colon and "/" not in tail else (reference, NONE)


def rows_of(image: "dict[str, Any]", trunc: bool, with_digest: bool) -> "list[ImageRow]":
    """The rows of one image: each tag, or each digest of a repository without a tag, or one row of `<none>`."""
    tags: dict[str, list[str]] = {}
    for reference in image.get("RepoTags") or []:
        if reference != "<none>:<none>":
            repository, tag = split_tag(reference)
            tags.setdefault(repository, []).append(tag)
    digests: dict[str, list[str]] = {}
    for reference in image.get("RepoDigests") or []:
        repository, at, digest = reference.partition("@")
        if at and repository != NONE:
            digests.setdefault(repository, []).append(digest)
    rows = []
    for repository in sorted(tags):
        known = digests.pop(repository, [])
        for tag in sorted(tags[repository]):
            if with_digest and known:
                rows += [ImageRow(image, trunc, repository, tag, digest) for digest in known]
            else:
                rows.append(ImageRow(image, trunc, repository, tag, NONE))
    for repository, known in sorted(digests.items()):
        if with_digest:
            rows += [ImageRow(image, trunc, repository, NONE, digest) for digest in known]
        else:
            rows.append(ImageRow(image, trunc, repository, NONE, NONE))
    return rows or [ImageRow(image, trunc, NONE, NONE, NONE)]


class ImageRow(Row):
    """A tag of an image, as /images/json tells it."""

    TYPE = "*formatter.imageContext"
    FIELDS = (
        "Containers", "CreatedAt", "CreatedSince", "Digest", "ID", "Repository", "SharedSize", "Size", "Tag", "UniqueSize", "VirtualSize",
    )  # fmt: skip
    HEADERS = {  # noqa: RUF012
        "ID": "IMAGE ID", "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT",
        "Size": "SIZE", "Containers": "CONTAINERS", "VirtualSize": "VIRTUAL SIZE", "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE",
    }  # fmt: skip

    def __init__(self, data: "dict[str, Any]", trunc: bool, repository: str, tag: str, digest: str) -> None:
        self.data = data
        self.trunc = trunc
        self.names = repository, tag, digest

    def ID(self) -> str:
        """The ID, 12 characters where cut."""
        return units.short_id(self.data["Id"]) if self.trunc else str(self.data["Id"])

    def Repository(self) -> str:
        """The name before the tag."""
        return self.names[0]

    def Tag(self) -> str:
        """The tag."""
        return self.names[1]

    def Digest(self) -> str:
        """The digest that it was pulled by."""
        return self.names[2]

    def CreatedSince(self) -> str:
        """How long ago it was built."""
        created = self.data.get("Created") or 0
        return units.since(created) if created > 0 else "N/A"

    def CreatedAt(self) -> str:
        """When it was built."""
        return units.go_time(self.data.get("Created") or 0)

    def Size(self) -> str:
        """The size of its layers."""
        return units.human_size(self.data.get("Size") or 0, 3)

    def VirtualSize(self) -> str:
        """The size again, with four digits."""
        return units.human_size(self.data.get("Size") or 0)

    def Containers(self) -> str:
        """How many containers use it."""
        count = self.data.get("Containers", -1)
        return "N/A" if count == -1 else str(count)

    def SharedSize(self) -> str:
        """What it shares with other images, where that was asked for."""
        shared = self.data.get("SharedSize", -1)
        return "N/A" if shared == -1 else units.human_size(shared)

    def UniqueSize(self) -> str:
        """What is its own, where that is known."""
        shared, size = self.data.get("SharedSize", -1), self.data.get("Size") or 0
        return "N/A" if -1 in (shared, size) else units.human_size(size - shared)
