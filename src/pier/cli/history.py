"""`pier history`: how an image was made, newest step first."""

from pier.cli import units
from pier.cli.format_help import TABLE_FORMAT_HELP
from pier.cli.formats import Row, write
from pier.cli.platforms import parameter
from pier.cli.session import Cli
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS] IMAGE"
SHORT = "Show the history of an image"
ALIASES = ("image history", "history")
FLAGS = (
    ("format", "", "string", TABLE_FORMAT_HELP),
    ("human", "H", "bool", "Print sizes and dates in human readable format (default true)"),
    ("no-trunc", "", "bool", "Don't truncate output"),
    ("platform", "", "string", 'Show history for the given platform. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")'),
    ("quiet", "q", "bool", "Only show image IDs"),
)
DEFAULTS = {"human": True}
ARGS = (1, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """List; 0."""
    platform = options.text("platform")
    params = [("platform", parameter(platform))] if platform else []
    found = cli.client().get(f"/images/{segment(args[0])}/history", params) or []
    rows = [HistoryRow(item, not options.flag("no-trunc"), options.flag("human")) for item in found]
    text = options.text("format")
    if options.flag("quiet") and not text:
        cli.out("".join(row.ID() + "\n" for row in rows))
        return 0
    columns = ("ID", "CreatedSince" if options.flag("human") else "CreatedAt", "CreatedBy", "Size", "Comment")
    write(cli, text, columns, rows, HistoryRow)
    return 0


class HistoryRow(Row):
    """A step, as /images/NAME/history tells it."""

    TYPE = "*image.historyContext"
    FIELDS = ("Comment", "CreatedAt", "CreatedBy", "CreatedSince", "ID", "Size")
    HEADERS = {  # noqa: RUF012
        "ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT",
    }  # fmt: skip

    def __init__(self, data: "dict[str, Any]", trunc: bool, human: bool) -> None:
        self.data = data
        self.trunc = trunc
        self.human = human

    def ID(self) -> str:
        """The image that the step ended in, `<missing>` where it is not here."""
        return units.short_id(self.data["Id"]) if self.trunc else str(self.data["Id"])

    def CreatedAt(self) -> str:
        """When."""
        created = self.data.get("Created") or 0
        return units.rfc3339(created) if created > 0 else "N/A"

    def CreatedSince(self) -> str:
        """How long ago, or when."""
        if not self.human:
            return self.CreatedAt()
        created = self.data.get("Created") or 0
        return units.since(created) if created > 0 else "N/A"

    def CreatedBy(self) -> str:
        """The instruction."""
        text = str(self.data.get("CreatedBy") or "").replace("\t", " ")
        return units.ellipsis(text, 45) if self.trunc else text

    def Size(self) -> str:
        """What the step added."""
        size = self.data.get("Size") or 0
        return units.human_size(size, 3) if self.human else str(size)

    def Comment(self) -> str:
        """Its comment."""
        return str(self.data.get("Comment") or "")
