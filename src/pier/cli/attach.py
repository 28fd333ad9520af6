"""`pier attach`: the streams of a running container."""

from pier.cli.attach_session import Session, require_terminal
from pier.cli.session import Cli, CommandError
from pier.cli.streams import DETACHED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] CONTAINER"
SHORT = "Attach local standard input, output, and error streams to a running container"
ALIASES = ("container attach", "attach")
FLAGS = (
    ("detach-keys", "", "string", "Override the key sequence for detaching a container"),
    ("no-stdin", "", "bool", "Do not attach STDIN"),
    ("sig-proxy", "", "bool", "Proxy all received signals to the process (default true)"),
)
DEFAULTS = {"sig-proxy": True}
ARGS = (1, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Attach until the container ends, and its exit status, or until the detach keys are typed."""
    client = cli.client()
    container = client.get(f"/containers/{args[0]}/json")
    state, config = container["State"], container["Config"]
    for word, shown in (("Running", ""), ("Paused", "paused"), ("Restarting", "restarting")):
        if word == "Running" and not state["Running"]:
            raise CommandError("You cannot attach to a stopped container, start it first")
        if shown and state[word]:
            hint = ", unpause it first" if shown == "paused" else ", wait until it is running"
            raise CommandError(f"You cannot attach to a {shown} container{hint}")
    stdin = not options.flag("no-stdin") and bool(config["OpenStdin"])
    if stdin and config["Tty"]:
        require_terminal()
    session = Session(
        cli,
        container["Id"],
        tty=bool(config["Tty"]),
        stdin=stdin,
        detach_keys=options.text("detach-keys"),
        sig_proxy=options.flag("sig-proxy") and not config["Tty"],
    )
    with session:
        session.wait()
        session.attach()
        if config["Tty"]:
            session.redraw()
        if session.pump(f"/containers/{container['Id']}/resize") == DETACHED:
            raise CommandError("read escape sequence")
        return session.exit_status()
