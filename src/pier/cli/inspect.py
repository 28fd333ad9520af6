"""`pier inspect`: everything that is known of containers and images, as JSON or through a template."""

from pier.cli.format_help import FORMAT_HELP
from pier.cli.session import Cli, CommandError
from pier.client import jsontext
from pier.client.session import ApiError, segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pier.cli.flags import Options

USAGE = "[OPTIONS] NAME|ID [NAME|ID...]"
SHORT = "Return low-level information on Pier objects"
FLAGS = (
    ("format", "f", "string", FORMAT_HELP),
    ("size", "s", "bool", "Display total file sizes if the type is container"),
    ("type", "", "string", "Only inspect objects of the given type"),
)
ARGS = (1, None)
KINDS = ("container", "image", "network")
LATER_KINDS = ("node", "plugin", "secret", "service", "task", "volume", "config")


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Show each; 1 where one was not found, with the others shown."""
    kind = options.text("type")
    if kind in LATER_KINDS:
        raise CommandError(f"--type {kind} is not supported by Pier yet")
    if kind and kind not in KINDS:
        known = ", ".join(f'"{name}"' for name in sorted([*KINDS, *LATER_KINDS]))
        raise CommandError(f'unknown type: "{kind}": must be one of {known}')
    kinds = (kind,) if kind else KINDS
    params = [("size", "1")] if options.flag("size") else []

    def fetch(name: str) -> bytes:
        paths = {"container": f"/containers/{name}/json", "image": f"/images/{segment(name)}/json", "network": f"/networks/{segment(name)}"}
        for one in kinds:
            path = paths[one]
            try:
                return cli.client().raw("GET", path, params if one == "container" else ())
            except ApiError as error:
                if kind or error.status != 404:
                    raise
        raise CommandError(f"Error: No such object: {name}")

    return show(cli, options.text("format"), args, fetch)


def show(cli: Cli, text: str, names: list[str], fetch: "Callable[[str], bytes]") -> int:
    """Fetch each name's document and write them as `text` says; what failed comes last. Raises CommandError."""
    text = text.strip(" ")
    template = None
    if text not in ("", "json"):
        from pier.cli.goformat.parse import ParseError, parse

        try:
            template = parse(text)
        except ParseError as error:
            raise CommandError(f"template parsing error: template: :{error}", 64) from None
    failures = []
    documents = []
    for name in names:
        try:
            documents.append(fetch(name).decode("utf-8", "replace").strip())
        except (ApiError, CommandError) as error:
            failures.append(str(error))
    if template is None:
        joined = "[" + ",".join(documents) + "]"
        cli.out((jsontext.indent(joined) if text == "" else joined) + "\n")
    else:
        from pier.cli.goformat.evaluate import ExecuteError, execute

        lines = []
        for document in documents:
            try:
                lines.append(execute(template, jsontext.decode(document)) + "\n")
            except ExecuteError as error:
                cli.out("".join(lines) + "\n")
                raise CommandError("\n".join([*failures, f"template parsing error: template: :{error}"])) from None
        cli.out("".join(lines) or "\n")
    if failures:
        raise CommandError("\n".join(failures))
    return 0
