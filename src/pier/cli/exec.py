"""`pier exec`: another process in a running container."""

from pier.cli.session import Cli, CommandError
from pier.client.session import ApiError, ConnectionFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS] CONTAINER COMMAND [ARG...]"
SHORT = "Execute a command in a running container"
ALIASES = ("container exec", "exec")
FLAGS = (
    ("detach", "d", "bool", "Detached mode: run command in the background"),
    ("detach-keys", "", "string", "Override the key sequence for detaching a container"),
    ("env", "e", "list", "Set environment variables"),
    ("env-file", "", "list", "Read in a file of environment variables"),
    ("interactive", "i", "bool", "Keep STDIN open even if not attached"),
    ("privileged", "", "bool", "Give extended privileges to the command"),
    ("tty", "t", "bool", "Allocate a pseudo-TTY"),
    ("user", "u", "string", 'Username or UID (format: "<name|uid>[:<group|gid>]")'),
    ("workdir", "w", "string", "Working directory inside the container"),
)


def _environment(text: str) -> str:
    from pier.cli.container_values import environment  # most execs have none

    return environment(text)


PARSERS = {"env": _environment}
INTERSPERSED = False
ARGS = (2, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Run the command; its exit status, 0 where it is left in the background."""
    container = args[0]
    body = request(cli, options, args[1:])
    client = cli.client()
    if not body["Detach"] and body["AttachStdin"] and body["Tty"]:
        from pier.cli.attach_session import require_terminal

        try:
            require_terminal()
        except CommandError:
            client.get(f"/containers/{container}/json")  # that there is no such container matters more
            raise
    if not body["Detach"]:
        client.meanwhile = _load_all if body["AttachStdin"] or body["Tty"] else _load
    exec_id = client.post(f"/containers/{container}/exec", (), body)["Id"]
    if body["Detach"]:
        client.post(f"/exec/{exec_id}/start", (), {"Detach": True, "Tty": body["Tty"]})
        return 0
    return _attached(cli, options, exec_id, body)


def _load() -> None:
    """Import what comes next, while the daemon makes the exec."""
    import pier.cli.attach_session  # noqa: F401


def _load_all() -> None:
    _load()
    import select  # noqa: F401

    import pier.cli.signals  # noqa: F401


def request(cli: Cli, options: "Options", command: list[str]) -> "dict[str, Any]":
    """The body of POST /containers/NAME/exec. Raises CommandError."""
    environ = cli.environ
    try:
        lines = _lines(options.many("env-file"), environ)
    except ValueError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"open {error.filename}: {(error.strerror or '').lower()}") from None
    env = [*lines]
    for text in options.many("env"):
        env.append(text if "=" in text or text not in environ else f"{text}={environ[text]}")
    attached = not options.flag("detach")
    body: dict[str, Any] = {
        "User": options.text("user"),
        "Privileged": options.flag("privileged"),
        "Tty": options.flag("tty"),
    }
    if body["Tty"]:
        from pier.cli.terminal import size

        body["ConsoleSize"] = list(size())
    body |= {
        "AttachStdin": attached and options.flag("interactive"),
        "AttachStderr": attached,
        "AttachStdout": attached,
        "Detach": options.flag("detach"),
        "DetachKeys": options.text("detach-keys") or cli.setting("detachKeys"),
        "Env": env or None,
        "WorkingDir": options.text("workdir"),
        "Cmd": command,
    }
    return body


def _lines(paths: list[str], environ: "Any") -> list[str]:
    if not paths:
        return []
    from pier.cli.container_values import key_value_file

    return [line for path in paths for line in key_value_file(path, environ)]


def _attached(cli: Cli, options: "Options", exec_id: str, body: "dict[str, Any]") -> int:
    from pier.cli.attach_session import Session
    from pier.cli.streams import DETACHED

    session = Session(
        cli,
        "",
        tty=body["Tty"],
        stdin=body["AttachStdin"],
        detach_keys=options.text("detach-keys"),
        sig_proxy=False,
    )
    start = {"Detach": False, "Tty": body["Tty"]}
    if body["Tty"]:
        start["ConsoleSize"] = body["ConsoleSize"]
    with session:
        session.use(*session.client.hijack(f"/exec/{exec_id}/start", (), start))
        if session.pump(f"/exec/{exec_id}/resize" if body["Tty"] else "") == DETACHED:
            raise CommandError("read escape sequence")
    try:
        return int(session.client.get(f"/exec/{exec_id}/json").get("ExitCode") or 0)
    except (ApiError, ConnectionFailed) as error:
        raise CommandError(f"the command's exit status is not known, the daemon ended while it ran: {error}", 125) from None
