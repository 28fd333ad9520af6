"""`--format` of the commands that show one document, or one for each name: version, info, inspect, events."""

from pier.cli.goformat.evaluate import ExecuteError, execute
from pier.cli.goformat.parse import ParseError, parse
from pier.cli.goformat.values import to_json
from pier.cli.session import Cli, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def show_one(cli: Cli, text: str, document: "Any", name: str, root_type: str) -> None:
    """Write a document as `text` says, with a line break. Raises CommandError (status 64 for a template that is none)."""
    text = text.strip(" ")
    if text == "json":
        text = "{{json .}}"
    try:
        template = parse(text)
    except ParseError as error:
        raise CommandError(f"template parsing error: template: {name}:{error}", 64) from None
    try:
        cli.out(execute(template, document, name, root_type) + "\n")
    except ExecuteError as error:
        raise CommandError(f"template: {name}:{error}") from None


__all__ = ["show_one", "to_json"]
