"""`pier pull`: have the daemon fetch an image. `run` and `create` fetch what is missing through here."""

from pier.cli import content_trust
from pier.cli.session import Cli, CommandError
from pier.client.references import Name, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] NAME[:TAG|@DIGEST]"
SHORT = "Download an image from a registry"
ALIASES = ("image pull", "pull")
FLAGS = (
    ("all-tags", "a", "bool", "Download all tagged images in the repository"),
    content_trust.VERIFIES,
    ("platform", "", "string", "Set platform if server is multi-platform capable"),
    ("quiet", "q", "bool", "Suppress verbose output"),
)
DEFAULTS = {content_trust.FLAG: True}
ARGS = (1, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Fetch; prints the image's full name at the end."""
    content_trust.refuse(cli, options)
    try:
        name = parse(args[0])
    except ValueError as error:
        raise CommandError(str(error)) from None
    all_tags, quiet = options.flag("all-tags"), options.flag("quiet")
    if all_tags and (name.tag or name.digest):
        raise CommandError("tag can't be used with --all-tags/-a")
    if not all_tags and not name.tag and not name.digest:
        name = name.with_default_tag()
        if not quiet:
            cli.out(f"Using default tag: {name.tag}\n")
    fetch(cli, name, options.text("platform"), 1, quiet)
    cli.out(f"{name.full}\n")
    return 0


def fetch(cli: Cli, name: Name, platform: str, fd: int, quiet: bool) -> None:
    """Have the daemon fetch `name`, all its tags where it has neither tag nor digest, with the progress on `fd`. Raises ApiError, CommandError."""
    from pier.cli.progress import show
    from pier.cli.registry_auth import header

    params = [("fromImage", name.repository)]
    if platform:
        params.append(("platform", platform))
    if name.digest or name.tag:
        params.append(("tag", name.digest or name.tag))
    show(cli, cli.client().documents("POST", "/images/create", params, headers=[header(cli, name.server)]), fd, quiet)
