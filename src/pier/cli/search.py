"""`pier search`: repositories of Docker Hub, or of another registry that lists what it has."""

from pier.cli.formats import Row, filter_value, filters, write
from pier.cli.session import Cli
from pier.client.credentials.servers import of_domain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS] TERM"
SHORT = "Search Docker Hub for images"
FLAGS = (
    ("filter", "f", "filter", "Filter output based on conditions provided"),
    ("format", "", "string", "Pretty-print search using a Go template"),
    ("limit", "", "int", "Max number of search results"),
    ("no-trunc", "", "bool", "Don't truncate output"),
)
PARSERS = {"filter": filter_value}
ARGS = (1, 1)
_DESCRIPTION_COLUMNS = 45


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Search; 0."""
    from pier.cli.registry_auth import header

    params = filters(options.many("filter"))
    if options.number("limit") > 0:
        params.append(("limit", str(options.number("limit"))))
    params.append(("term", args[0]))
    found = cli.client().get("/images/search", params, headers=[header(cli, of_domain(domain_of(args[0])))]) or []
    rows = [SearchRow(item, not options.flag("no-trunc")) for item in found]
    write(cli, options.text("format"), ("Name", "Description", "StarCount", "IsOfficial"), rows, SearchRow)
    return 0


def domain_of(term: str) -> str:
    """The registry that a term begins with, "" for Docker Hub: its first part where that can be a host, as in a name."""
    first, slash, _ = term.partition("/")
    return first if slash and (first == "localhost" or "." in first or ":" in first) else ""


class SearchRow(Row):
    """One repository that was found, as /images/search tells it."""

    TYPE = "*registry.searchContext"
    FIELDS = ("Description", "IsOfficial", "Name", "StarCount")
    HEADERS = {"Name": "NAME", "Description": "DESCRIPTION", "StarCount": "STARS", "IsOfficial": "OFFICIAL"}  # noqa: RUF012
    ERRORS = ("template parsing error", "template parsing error")

    def __init__(self, data: "dict[str, Any]", trunc: bool) -> None:
        self.data = data
        self.trunc = trunc

    def Name(self) -> str:
        """The repository."""
        return str(self.data.get("name") or "")

    def Description(self) -> str:
        """What its owner says of it, on one line."""
        from pier.cli.units import ellipsis

        text = str(self.data.get("description") or "").replace("\n", " ").replace("\r", " ")
        return ellipsis(text, _DESCRIPTION_COLUMNS) if self.trunc else text

    def StarCount(self) -> str:
        """How many like it."""
        return str(self.data.get("star_count") or 0)

    def IsOfficial(self) -> str:
        """A mark for Docker's own selection."""
        return "[OK]" if self.data.get("is_official") else ""

    def to_json(self) -> str:
        """The fields as one line of JSON; the mark is true or false here, as text."""
        from pier.client import jsontext

        fields = {name: self.get(name) for name in self.FIELDS}
        return jsontext.encode({**fields, "IsOfficial": "true" if self.data.get("is_official") else "false"})
