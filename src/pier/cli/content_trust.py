"""Docker Content Trust (signatures in a Notary server): Pier has none, so a wish for it is refused rather than ignored."""

from pier.cli.flags import parse_bool
from pier.cli.session import Cli, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Flag, Options

FLAG = "disable-content-trust"
VARIABLE = "DOCKER_CONTENT_TRUST"
VERIFIES: "Flag" = (FLAG, "", "bool", "Skip image verification (default true)")
SIGNS: "Flag" = (FLAG, "", "bool", "Skip image signing (default true)")


def refuse(cli: Cli, options: "Options") -> None:
    """Raises CommandError where the flag or the environment asks for content trust; the flag outweighs the environment, as in Docker."""
    if FLAG in options.given:
        if not options.flag(FLAG):
            raise CommandError(f"content trust is not supported by Pier: leave --{FLAG}=false away")
        return
    try:
        wanted = parse_bool(cli.environ.get(VARIABLE) or "0")
    except ValueError:
        wanted = True  # as Docker takes what is no bool
    if wanted:
        raise CommandError(f"content trust is not supported by Pier: unset {VARIABLE}, or give --{FLAG}")
