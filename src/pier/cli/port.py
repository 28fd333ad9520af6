"""`pier port`: where a container's ports are published."""

from pier.cli.flags import go_quote
from pier.cli.session import Cli, CommandError
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS] CONTAINER [PRIVATE_PORT[/PROTO]]"
SHORT = "List port mappings or a specific mapping for the container"
ALIASES = ("container port", "port")
FLAGS = (("explain", "", "bool", "Follow a packet to each port, and tell where it would stop (Pier only)"),)
ARGS = (1, 2)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Show them; 0. With --explain 1 where a packet would stop."""
    if options.flag("explain"):
        return _explain(cli, args[0], _key(args[1]) if len(args) == 2 else "")
    ports: dict[str, list[dict[str, Any]] | None] = cli.client().get(f"/containers/{segment(args[0])}/json")["NetworkSettings"]["Ports"] or {}
    if len(args) == 2:
        cli.out("".join(f"{line}\n" for line in sorted(_of(ports, args[1], args[0]))))
        return 0
    lines = [f"{key} -> {each}" for key, places in ports.items() for each in _places(places)]
    cli.out("".join(f"{line}\n" for line in sorted(lines, key=_number_first)))
    return 0


def _of(ports: "dict[str, list[dict[str, Any]] | None]", wanted: str, container: str) -> list[str]:
    found = _places(ports.get(_key(wanted)))
    if not found:
        raise CommandError(f"Error: No public port '{wanted}' published for {container}")
    return found


def _key(wanted: str) -> str:
    number, _, protocol = wanted.partition("/")
    if not (number.isascii() and number.isdigit()):
        raise CommandError(f"Error: invalid port ({number}): strconv.ParseUint: parsing {go_quote(number)}: invalid syntax")
    return f"{number}/{protocol or 'tcp'}"


def _explain(cli: Cli, name: str, wanted: str) -> int:
    paths = [path for path in cli.client().get(f"/pier/containers/{segment(name)}/ports") if wanted in ("", path["Private"])]
    if not paths:
        hint = f" as {wanted}" if wanted else ": run it with -p, in a network that is not internal"
        raise CommandError(f"Error: nothing of {name} is published{hint}")
    for path in paths:
        cli.out(f"{path['Port']}\n")
        cli.out("".join(f"  {'ok  ' if step['Passed'] else 'STOP'}  {step['Text']}\n" for step in path["Steps"]))
    return int(not all(step["Passed"] for path in paths for step in path["Steps"]))


def _places(places: "list[dict[str, Any]] | None") -> list[str]:
    return [f"[{each['HostIp']}]:{each['HostPort']}" if ":" in each["HostIp"] else f"{each['HostIp']}:{each['HostPort']}" for each in places or ()]


def _number_first(line: str) -> tuple[int, str]:
    return int(line.partition("/")[0]), line
