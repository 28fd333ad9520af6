"""`pier port`: where a container's ports are published."""

from pier.cli.flags import go_quote
from pier.cli.session import Cli, CommandError
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "CONTAINER [PRIVATE_PORT[/PROTO]]"
SHORT = "List port mappings or a specific mapping for the container"
ALIASES = ("container port", "port")
FLAGS = ()
ARGS = (1, 2)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Show them; 0."""
    ports: dict[str, list[dict[str, Any]] | None] = cli.client().get(f"/containers/{segment(args[0])}/json")["NetworkSettings"]["Ports"] or {}
    if len(args) == 2:
        cli.out("".join(f"{line}\n" for line in sorted(_of(ports, args[1], args[0]))))
        return 0
    lines = [f"{key} -> {each}" for key, places in ports.items() for each in _places(places)]
    cli.out("".join(f"{line}\n" for line in sorted(lines, key=_number_first)))
    return 0


def _of(ports: "dict[str, list[dict[str, Any]] | None]", wanted: str, container: str) -> list[str]:
    number, _, protocol = wanted.partition("/")
    if not (number.isascii() and number.isdigit()):
        raise CommandError(f"Error: invalid port ({number}): strconv.ParseUint: parsing {go_quote(number)}: invalid syntax")
    found = _places(ports.get(f"{number}/{protocol or 'tcp'}"))
    if not found:
        raise CommandError(f"Error: No public port '{wanted}' published for {container}")
    return found


def _places(places: "list[dict[str, Any]] | None") -> list[str]:
    return [f"[{each['HostIp']}]:{each['HostPort']}" if ":" in each["HostIp"] else f"{each['HostIp']}:{each['HostPort']}" for each in places or ()]


def _number_first(line: str) -> tuple[int, str]:
    return int(line.partition("/")[0]), line
