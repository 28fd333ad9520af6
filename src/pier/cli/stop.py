"""`pier stop`: ask containers to end, kill them after a while."""

from pier.cli.session import Cli, each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
SHORT = "Stop one or more running containers"
ALIASES = ("container stop", "stop")
FLAGS = (
    ("signal", "s", "string", "Signal to send to the container"),
    ("timeout", "t", "int", "Seconds to wait before killing the container"),
)
HIDDEN = {"time": "timeout"}
ARGS = (1, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Stop each; prints the names."""
    params = stop_parameters(options)

    def act(name: str) -> str:
        cli.client().post(f"/containers/{name}/stop", params)
        return name

    return each(cli, args, act)


def stop_parameters(options: "Options") -> list[tuple[str, str]]:
    """The query of stop and restart."""
    params = []
    if options.text("signal"):
        params.append(("signal", options.text("signal")))
    if "timeout" in options.given or "time" in options.given:
        params.append(("t", str(options.number("timeout"))))
    return params
