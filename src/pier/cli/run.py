"""`pier run`: create, attach, wait, start, stream, exit code; in this order, so that no byte and no exit is missed."""

from pier.cli import container_flags, container_options
from pier.cli.create import create, request, wrong
from pier.cli.session import Cli, CommandError
from pier.client.session import ApiError, ConnectionFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"
SHORT = "Create and run a new container from an image"
ALIASES = ("container run", "run")
FLAGS = container_flags.RUN_FLAGS
LATER = container_flags.LATER
DEFAULTS = container_flags.DEFAULTS
PARSERS = container_options.PARSERS
HIDDEN = container_flags.HIDDEN
INTERSPERSED = False
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Run a container; its exit status, or 125 to 127 where it did not come to run."""
    body = request(cli, options, args, "run")
    if options.flag("detach"):
        if options.many("attach"):
            raise CommandError("conflicting options: cannot specify both --attach and --detach")
        body.update(AttachStdin=False, AttachStdout=False, AttachStderr=False, StdinOnce=False)
    elif body["AttachStdin"] and body["Tty"]:
        from pier.cli.attach_session import require_terminal

        require_terminal()
    attached = body["AttachStdin"] or body["AttachStdout"] or body["AttachStderr"]
    if body["Tty"]:
        from pier.cli.terminal import size

        body["HostConfig"]["ConsoleSize"] = list(size())
    if attached:
        cli.client().meanwhile = _load
    try:
        container_id = create(cli, options, body)
        if not attached:
            cli.client().post(f"/containers/{container_id}/start")
    except ApiError as error:
        raise failed(error) from None
    except ConnectionFailed as error:
        raise wrong(str(error), "run") from None
    except CommandError as error:
        raise error if error.status == 125 else wrong(str(error), "run") from None
    if not attached:
        cli.out(container_id + "\n")
        return 0
    return _attached(cli, options, container_id, body)


def _load() -> None:
    """Import what comes next, while the daemon makes the container."""
    import select  # noqa: F401

    import pier.cli.attach_session
    import pier.cli.signals  # noqa: F401


def _attached(cli: Cli, options: "Options", container_id: str, body: "dict[str, Any]") -> int:
    from pier.cli.attach_session import Session

    if not body["AttachStdout"] and not body["AttachStderr"]:
        cli.out(container_id + "\n")
    session = Session(
        cli,
        container_id,
        tty=bool(body["Tty"]),
        stdin=bool(body["AttachStdin"]),
        stdout=bool(body["AttachStdout"]),
        stderr=bool(body["AttachStderr"]),
        detach_keys=options.text("detach-keys"),
        sig_proxy=options.flag("sig-proxy"),
    )
    with session:
        try:
            session.attach_and_wait("removed" if options.flag("rm") else "next-exit")
            session.start()
        except ApiError as error:
            if session.waiting and options.flag("rm"):
                session.exit_status()  # the daemon removes what could not start: return when it did
            raise failed(error) from None
        return session.stream()


def failed(error: ApiError) -> CommandError:
    """The daemon's refusal with the exit status that it stands for: 127 not found, 126 not executable, else 125."""
    text = error.message
    status = 125
    if "executable file not found" in text or "no such file or directory" in text:
        status = 127
    elif "permission denied" in text or "is a directory" in text:
        status = 126
    return wrong(str(error), "run", status)
