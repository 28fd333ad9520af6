"""`pier start`: start containers that are there, attached on demand."""

from pier.cli.session import Cli, CommandError
from pier.client.session import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
SHORT = "Start one or more stopped containers"
ALIASES = ("container start", "start")
FLAGS = (
    ("attach", "a", "bool", "Attach STDOUT/STDERR and forward signals"),
    ("checkpoint", "", "string", "Restore from this checkpoint"),
    ("checkpoint-dir", "", "string", "Use a custom checkpoint storage directory"),
    ("detach-keys", "", "string", "Override the key sequence for detaching a container"),
    ("interactive", "i", "bool", "Attach container's STDIN"),
)
LATER = frozenset(["checkpoint", "checkpoint-dir"])
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Start each; prints the names. Attached: the container's exit status."""
    if not options.flag("attach") and not options.flag("interactive"):
        return _start_all(cli, args)
    if len(args) > 1:
        raise CommandError("you cannot start and attach multiple containers at once")
    from pier.cli.attach_session import Session, require_terminal

    container = cli.client().get(f"/containers/{args[0]}/json")
    config = container["Config"]
    stdin = options.flag("interactive") and bool(config["OpenStdin"])
    if stdin and config["Tty"]:
        require_terminal()
    session = Session(
        cli, container["Id"], tty=bool(config["Tty"]), stdin=stdin, detach_keys=options.text("detach-keys"), sig_proxy=not config["Tty"]
    )
    with session:
        session.attach()
        session.wait("removed" if container["HostConfig"]["AutoRemove"] else "next-exit")
        try:
            session.start()
        except ApiError as error:
            if container["HostConfig"]["AutoRemove"]:
                session.exit_status()
            raise CommandError(str(error)) from None
        return session.stream()


def _start_all(cli: Cli, names: list[str]) -> int:
    failed = []
    for name in names:
        try:
            cli.client().post(f"/containers/{name}/start")
        except ApiError as error:
            cli.err(f"{error}\n")
            failed.append(name)
        else:
            cli.out(f"{name}\n")
    if failed:
        raise CommandError("Error: failed to start containers: " + ", ".join(failed))
    return 0
