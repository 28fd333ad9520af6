"""`pier image diff`: what one image shows and says that another does not."""

from pier.cli import units
from pier.cli.format_help import TABLE_FORMAT_HELP
from pier.cli.formats import Row, write
from pier.cli.session import Cli
from pier.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS] IMAGE IMAGE"
SHORT = "Show what the second image has added, changed and removed (Pier only)"
FLAGS = (
    ("format", "", "string", TABLE_FORMAT_HELP),
    ("no-trunc", "", "bool", "Don't truncate output"),
)
ARGS = (2, 2)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """List the differences of files, then those of the configurations; 0 whether there are any or not."""
    found = cli.client().get("/pier/images/diff", [("from", args[0]), ("to", args[1])])
    rows: list[Row] = [FileRow(item) for item in found["Files"]]
    rows += [ConfigRow(item, not options.flag("no-trunc")) for item in found["Config"]]
    write(cli, options.text("format"), ("Kind", "From", "To", "Name", "What"), rows, DifferenceRow)
    return 0


class DifferenceRow(Row):
    """One difference. Kind is A (added), C (changed) or D (deleted)."""

    TYPE = "*image.differenceContext"
    FIELDS = ("From", "Kind", "Name", "To", "What")
    HEADERS = {"From": "FROM", "Kind": "KIND", "Name": "NAME", "To": "TO", "What": "WHAT"}  # noqa: RUF012

    def __init__(self, data: "dict[str, Any]") -> None:
        self.data = data


class FileRow(DifferenceRow):
    """A file, with its sizes."""

    def Kind(self) -> str:
        """A, C or D."""
        return "CAD"[self.data["Kind"]]

    def Name(self) -> str:
        """The path."""
        return str(self.data["Path"])

    def From(self) -> str:
        """Its size before."""
        return self._size("From")

    def To(self) -> str:
        """Its size after."""
        return self._size("To")

    def What(self) -> str:
        """In what it differs."""
        return ", ".join(self.data.get("What") or [])

    def _size(self, side: str) -> str:
        return "-" if self.data[side] is None else units.human_size(self.data[side], 3)


class ConfigRow(DifferenceRow):
    """A field of the configuration, with what it says."""

    def __init__(self, data: "dict[str, Any]", trunc: bool) -> None:
        super().__init__(data)
        self.trunc = trunc

    def Kind(self) -> str:
        """A, C or D."""
        return "A" if self.data["From"] is None else "D" if self.data["To"] is None else "C"

    def Name(self) -> str:
        """The field."""
        return str(self.data["Name"])

    def From(self) -> str:
        """What it said before."""
        return self._text("From")

    def To(self) -> str:
        """What it says now."""
        return self._text("To")

    def What(self) -> str:
        """That it is no file."""
        return "configuration"

    def _text(self, side: str) -> str:
        value = self.data[side]
        text = "-" if value is None else value if isinstance(value, str) else jsontext.encode(value)
        return units.ellipsis(text, 45) if self.trunc else text
