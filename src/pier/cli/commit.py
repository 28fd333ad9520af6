"""`pier commit`: an image out of a container and what it changed."""

from pier.cli.session import Cli, CommandError
from pier.client import references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]"
SHORT = "Create a new image from a container's changes"
ALIASES = ("container commit", "commit")
FLAGS = (
    ("author", "a", "string", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
    ("change", "c", "list", "Apply Dockerfile instruction to the created image"),
    ("message", "m", "string", "Commit message"),
    ("no-pause", "", "bool", "Do not pause container during commit"),
    ("pause", "p", "bool", "Pause container during commit (default true)"),
    ("timestamp", "", "int64", "Make the same image every time: created SECONDS after 1970, no file newer (Pier only)"),
)
DEFAULTS = {"pause": True}
ARGS = (1, 2)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Commit; prints the new image's ID."""
    params = [("author", options.text("author"))]
    params += [("changes", text) for text in options.many("change")]
    params += [("comment", options.text("message")), ("container", args[0])]
    if len(args) > 1 and args[1]:
        params += name_parameters(args[1])
    if options.flag("no-pause") or not options.flag("pause"):
        params.append(("pause", "0"))
    if "timestamp" in options.given:
        params.append(("pier-timestamp", str(options.number("timestamp"))))
    cli.out(cli.client().post("/commit", params)["Id"] + "\n")
    return 0


def name_parameters(text: str) -> list[tuple[str, str]]:
    """`repo` and `tag` of a name for a new image. Raises CommandError."""
    try:
        name = references.parse(text)
    except ValueError as error:
        raise CommandError(str(error)) from None
    if name.digest:
        raise CommandError("refusing to create a tag with a digest reference")
    repository, _, tag = name.with_default_tag().familiar.rpartition(":")
    return [("repo", repository), ("tag", tag)]
