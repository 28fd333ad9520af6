"""`pier events`: what happens, as it happens."""

from pier.cli import units
from pier.cli.format_help import FORMAT_HELP
from pier.cli.formats import filter_value, filters
from pier.cli.session import Cli, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS]"
SHORT = "Get real time events from the server"
ALIASES = ("system events", "events")
FLAGS = (
    ("filter", "f", "filter", "Filter output based on conditions provided"),
    ("format", "", "string", FORMAT_HELP),
    ("since", "", "string", "Show all events created since timestamp"),
    ("until", "", "string", "Stream events until this timestamp"),
)
PARSERS = {"filter": filter_value}
ARGS = (0, 0)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Show events until --until, or for ever; 0."""
    template = _template(options.text("format"))
    params = filters(options.many("filter"))
    for name in ("since", "until"):
        if options.text(name):
            try:
                params.append((name, units.parse_moment(options.text(name))))
            except ValueError as error:
                raise CommandError(str(error)) from None
    for event in cli.client().documents("GET", "/events", params):
        cli.out(_line(event) if template is None else _formatted(template, event))
    return 0


def _template(text: str) -> "Any":
    if not text:
        return None
    from pier.cli.goformat.parse import ParseError, parse

    try:
        return parse("{{json .}}" if text == "json" else text)
    except ParseError as error:
        raise CommandError(f"Error parsing format: template: :{error}", 64) from None


def _formatted(template: "Any", event: "dict[str, Any]") -> str:
    from pier.cli.goformat.evaluate import ExecuteError, execute

    # Go's names of the fields whose JSON has others
    known = {**event, "ID": event.get("id", ""), "Scope": event.get("scope", ""), "Time": event.get("time", 0)}
    known |= {"TimeNano": event.get("timeNano", 0), "From": event.get("from", ""), "Status": event.get("status", "")}
    try:
        return execute(template, _Event(event, known)) + "\n"
    except ExecuteError as error:
        raise CommandError(f"template: :{error}") from None


class _Event(dict):  # type: ignore[type-arg]
    """An event: prints and encodes as it came, answers to Go's field names too."""

    def __init__(self, event: "dict[str, Any]", known: "dict[str, Any]") -> None:
        super().__init__(event)
        self.known = known

    def __contains__(self, key: object) -> bool:
        return key in self.known

    def get(self, key: "Any", default: "Any" = None) -> "Any":
        return self.known.get(key, default)


def _line(event: "dict[str, Any]") -> str:
    """`time type action id (attributes)`."""
    moment = units.rfc3339_nano(event["timeNano"]) if event.get("timeNano") else units.rfc3339(event.get("time") or 0)
    actor = event.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    text = f"{moment} {event.get('Type', '')} {event.get('Action', '')} {actor.get('ID', '')}"
    if attributes:
        text += " (" + ", ".join(f"{name}={attributes[name]}" for name in sorted(attributes)) + ")"
    return text + "\n"
