"""`--format` of the commands that list things: a table, a template for each row, or JSON lines."""

from pier.cli.session import Cli, CommandError
from pier.cli.tables import layout
from pier.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class Row:
    """One thing in a list. Each name in FIELDS is a method without arguments; a template may call those in CALLS with one.

    TYPE is what Docker calls the row in its error texts, ERRORS are what it says before those of parsing and of executing a template.
    """

    TYPE = ""
    FIELDS: "tuple[str, ...]" = ()
    CALLS: "frozenset[str]" = frozenset()
    HEADERS: "dict[str, str]" = {}  # noqa: RUF012
    ERRORS = ("failed to parse template", "failed to execute template")

    def get(self, name: str) -> "Any":
        """The value of a field."""
        return getattr(self, name)()

    def call(self, name: str, argument: str) -> "Any":
        """The value of a field with an argument."""
        return getattr(self, name)(argument)

    def to_json(self) -> str:
        """All fields as one line of JSON, sorted by name."""
        return jsontext.encode({name: self.get(name) for name in sorted(self.FIELDS)})


class Header:
    """Stands for a row when the header of a `table TEMPLATE` is made: each field gives its title."""

    def __init__(self, kind: "type[Row]") -> None:
        self.kind = kind


def write(cli: Cli, text: str, columns: "Sequence[str]", rows: "Sequence[Row]", kind: "type[Row]", samples: "Sequence[Row]" = ()) -> None:
    """Write rows as `text` says; `columns` are the fields of the default table.

    `samples` are rows on which the template is tried where there are none. Raises CommandError for a wrong template."""
    text = text.strip(" ")
    if text in ("", "table"):
        lines = [[kind.HEADERS[name] for name in columns]]
        lines.extend([str(row.get(name)) for name in columns] for row in rows)
        cli.out(layout(lines))
        return
    if text == "json":
        cli.out("".join(row.to_json() + "\n" for row in rows))
        return
    from pier.cli.goformat.evaluate import ExecuteError, execute
    from pier.cli.goformat.parse import ParseError, parse

    table = text.startswith("table ")
    body = text.replace("\\t", "\t").replace("\\n", "\n")
    try:
        template = parse(body)
    except ParseError as error:
        raise CommandError(f"{kind.ERRORS[0]}: template: :{error}") from None
    if table and isinstance(template.nodes[0], str):
        template.nodes[0] = template.nodes[0].removeprefix("table").lstrip(" ")  # parsed with it, for the columns in errors
    try:
        texts = [execute(template, row) for row in rows or samples][: len(rows)]
        if table:
            texts.insert(0, execute(template, Header(kind)))
    except ExecuteError as error:
        raise CommandError(f"{kind.ERRORS[1]}: template: :{error}") from None
    if table:
        cli.out(layout([line.split("\t") for line in "\n".join(texts).split("\n")], 10, 3))
    else:
        cli.out("".join(text + "\n" for text in texts))


def filters(texts: "Sequence[str]") -> "list[tuple[str, str]]":
    """The `filters` parameter of values of --filter, nothing where there are none. Raises CommandError."""
    found: dict[str, dict[str, bool]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise CommandError(f'invalid argument "{text}" for "-f, --filter" flag: bad format of filter (expected name=value)', 125)
        found.setdefault(name.strip().lower(), {})[value.strip()] = True
    return [("filters", jsontext.encode({name: found[name] for name in sorted(found)}))] if found else []


def filter_value(text: str) -> str:
    """A value of --filter. Raises ValueError where it has no name or no value."""
    if "=" not in text:
        raise ValueError("bad format of filter (expected name=value)")
    return text
