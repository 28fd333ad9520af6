"""`pier create`: make a container without starting it. What it shares with `run` is here too: pulling, messages, the ID file."""

import posix

from pier.cli import container_flags, container_options, content_trust
from pier.cli.session import Cli, CommandError
from pier.client import references
from pier.client.session import ApiError

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
_MISSING = ("no such image", "was found but its platform")


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
    image = args[0]
    try:
        content_trust.refuse(cli, options)
        references.check(image)
        return container_options.request(options, image, args[1:], cli.environ)
    except (CommandError, ValueError) as error:
        raise wrong(str(error), command) from None
    except OSError as error:
        raise wrong(f"open {error.filename}: {(error.strerror or '').lower()}", command) from None


def create(cli: Cli, options: "Options", body: "dict[str, Any]") -> str:
    """POST the container, fetching a missing image first where --pull says so; prints the daemon's warnings. The ID.

    Raises ApiError, ConnectionFailed, CommandError, OSError.
    """
    _warn(cli, body["HostConfig"])
    params = []
    if options.text("name"):
        params.append(("name", options.text("name")))
    if options.text("platform"):
        params.append(("platform", options.text("platform")))
    cidfile = options.text("cidfile")
    if cidfile:
        _reserve(cidfile)
    try:
        container_id = _created(cli, options, body, params)
    except BaseException:
        if cidfile:
            posix.unlink(cidfile)
        raise
    if cidfile:
        with open(cidfile, "w", encoding="ascii") as file:
            file.write(container_id)
    return container_id


def _warn(cli: Cli, host: "dict[str, Any]") -> None:
    if host.get("OomKillDisable") and not host.get("Memory"):
        cli.err("WARNING: Disabling the OOM killer on containers without setting a '-m/--memory' limit may be dangerous.\n")
    if local := next((server for server in host.get("Dns") or [] if server.startswith("127.") or server == "::1"), ""):
        cli.err(f"WARNING: Localhost DNS ({local}) may fail in containers.\n")


def _reserve(cidfile: str) -> None:
    """Make the file, so that no container is made whose ID cannot be written. Raises CommandError."""
    try:
        posix.close(posix.open(cidfile, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o666))
    except FileExistsError:
        raise CommandError(f"container ID file found, make sure the other container isn't running or delete {cidfile}") from None
    except OSError as error:
        raise CommandError(f"failed to create the container ID file: open {cidfile}: {(error.strerror or '').lower()}") from None


def _created(cli: Cli, options: "Options", body: "dict[str, Any]", params: "list[tuple[str, str]]") -> str:
    client = cli.client()
    image = str(body["Image"])
    if options.text("pull") == "always":
        fetch(cli, image, options)
    try:
        answer = client.post("/containers/create", params, body)
    except ApiError as error:
        missing = error.status == 404 and any(text in error.message.lower() for text in _MISSING)
        if not missing or options.text("pull") != "missing" or not is_name(image):
            raise
        if not options.flag("quiet"):
            cli.err(f"Unable to find image '{references.parse(image).with_default_tag().familiar}' locally\n")
        fetch(cli, image, options)
        answer = client.post("/containers/create", params, body)
    for warning in answer.get("Warnings") or []:
        cli.err(f"WARNING: {warning}\n")
    return str(answer["Id"])


def is_name(image: str) -> bool:
    """Whether a registry may have it: an ID in full is here or nowhere."""
    if image.startswith("sha256:") and len(image) == 71:
        return False
    try:
        references.parse(image)
    except ValueError:
        return False
    return True


def fetch(cli: Cli, image: str, options: "Options") -> None:
    """Have the daemon fetch an image, with its progress on stderr. Raises ApiError, CommandError."""
    from pier.cli import pull

    pull.fetch(cli, references.parse(image).with_default_tag(), options.text("platform"), 2, options.flag("quiet"))
