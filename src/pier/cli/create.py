"""`pier create`: make a container without starting it. What it shares with `run` is here too: pulling, messages, the ID file."""

from pier.cli import container_flags, container_options
from pier.cli.flags import NotYet
from pier.cli.session import Cli, CommandError, exists
from pier.client.session import ApiError, ConnectionFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"
SHORT = "Create a new container"
ALIASES = ("container create", "create")
FLAGS = container_flags.FLAGS
LATER = container_flags.LATER
DEFAULTS = container_flags.DEFAULTS
PARSERS = container_options.PARSERS
HIDDEN = container_flags.HIDDEN
INTERSPERSED = False
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Create, print the ID."""
    body = request(cli, options, args, "create")
    try:
        container_id = create(cli, options, body)
    except ValueError as error:
        raise wrong(str(error), "create") from None
    cli.out(container_id + "\n")
    return 0


def wrong(message: str, command: str, status: int = 125) -> CommandError:
    """A failure of `run` or `create` before there is a container, in the words that Docker puts around it."""
    return CommandError(f"pier: {message}\n\nRun 'pier {command} --help' for more information", status)


def request(cli: Cli, options: "Options", args: list[str], command: str) -> "dict[str, Any]":
    """The body of the create request. Raises CommandError for flags that contradict each other."""
    if options.text("pull") not in ("always", "missing", "never", ""):
        raise wrong(f'invalid pull option: \'{options.text("pull")}\': must be one of "always", "missing" or "never"', command)
    if options.text("pull") == "always":
        raise NotYet("--pull always")
    image = args[0]
    try:
        check_reference(image)
        return container_options.request(options, image, args[1:], cli.environ)
    except ValueError as error:
        raise wrong(str(error), command) from None
    except OSError as error:
        raise wrong(f"open {error.filename}: {(error.strerror or '').lower()}", command) from None


def check_reference(image: str) -> None:
    """Refuse an image name with upper-case letters in its path, as Docker's client does before it asks. Raises ValueError."""
    name = image.partition("@")[0]
    head, slash, rest = name.partition("/")
    if (slash and not ("." in head or ":" in head or head == "localhost")) or not slash:
        rest = name
    path, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        path = rest
    if not path or not name:
        raise ValueError("invalid reference format")
    if path != path.lower():
        full = path if slash else f"library/{path}"
        raise ValueError(f"invalid reference format: repository name ({full}) must be lowercase")
    if not all(char.isascii() and (char.isalnum() or char in "._-/") for char in path) or not path[0].isalnum():
        raise ValueError("invalid reference format")


def create(cli: Cli, options: "Options", body: "dict[str, Any]") -> str:
    """POST the container, fetching a missing image first where --pull says so; prints the daemon's warnings. The ID.

    Raises ApiError, ConnectionFailed, CommandError, OSError.
    """
    params = []
    if options.text("name"):
        params.append(("name", options.text("name")))
    if options.text("platform"):
        params.append(("platform", options.text("platform")))
    cidfile = options.text("cidfile")
    if cidfile and exists(cidfile):
        raise CommandError(f"container ID file found, make sure the other container isn't running or delete {cidfile}")
    client = cli.client()
    try:
        answer = client.post("/containers/create", params, body)
    except ApiError as error:
        missing = error.status == 404 and "no such image" in error.message.lower()
        if not missing or options.text("pull") == "never":
            raise
        if not options.flag("quiet"):
            cli.err(f"Unable to find image '{with_tag(str(body['Image']))}' locally\n")
        pull(cli, str(body["Image"]), options)
        answer = client.post("/containers/create", params, body)
    for warning in answer.get("Warnings") or []:
        cli.err(f"WARNING: {warning}\n")
    container_id = str(answer["Id"])
    if cidfile:
        with open(cidfile, "w", encoding="ascii") as file:
            file.write(container_id)
    return container_id


def with_tag(image: str) -> str:
    """An image's name with `:latest` where it has neither tag nor digest."""
    return image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:latest"


def pull(cli: Cli, image: str, options: "Options") -> None:
    """Have the daemon fetch an image, with its progress on stderr. Raises ApiError, CommandError."""
    from pier.cli.progress import show

    name, _, tag = with_tag(image).rpartition(":")
    params = [("fromImage", name), ("tag", tag)]
    if options.text("platform"):
        params.append(("platform", options.text("platform")))
    documents = cli.client().documents("POST", "/images/create", params)
    show(cli, documents, 2, quiet=options.flag("quiet"))


__all__ = ["ConnectionFailed", "check_reference", "create", "pull", "request", "run", "with_tag", "wrong"]
