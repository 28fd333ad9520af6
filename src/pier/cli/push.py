"""`pier push`: have the daemon send an image to its registry, or send it to the daemon of another machine."""

from pier.cli import content_trust
from pier.cli.session import Cli, CommandError
from pier.client.references import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] [ssh://[USER@]HOST[:PORT]/]NAME[:TAG]"
SHORT = "Upload an image to a registry"
ALIASES = ("image push", "push")
FLAGS = (
    ("all-tags", "a", "bool", "Push all tags of an image to the repository"),
    content_trust.SIGNS,
    (
        "platform",
        "",
        "string",
        "Push a platform-specific manifest as a single-platform image to the registry.\n"
        "Image index won't be pushed, meaning that other manifests, including attestations won't be preserved.\n"
        "'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
    ),
    ("quiet", "q", "bool", "Suppress verbose output"),
)
DEFAULTS = {content_trust.FLAG: True}
ARGS = (1, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Send; with --quiet prints the name at the end."""
    content_trust.refuse(cli, options)
    if args[0].startswith("ssh://"):
        return _by_ssh(cli, options, args[0])
    try:
        name = parse(args[0])
    except ValueError as error:
        raise CommandError(str(error)) from None
    if name.digest:
        raise CommandError("cannot push a digest reference")
    all_tags, quiet, platform = options.flag("all-tags"), options.flag("quiet"), options.text("platform")
    params = []
    if platform:
        from pier.cli.platforms import parameter

        params.append(("platform", parameter(platform)))
        if not quiet:
            cli.out("Info: --platform pushes the image of this platform alone: no index, no other platform's image, no attestations\n")
    if all_tags and name.tag:
        raise CommandError("tag can't be used with --all-tags/-a")
    if not all_tags:
        if not name.tag and not quiet:
            cli.out("Using default tag: latest\n")
        name = name.with_default_tag()
        params.append(("tag", name.tag))
    from pier.cli.progress import show
    from pier.cli.registry_auth import header
    from pier.client.session import segment

    path = f"/images/{segment(name.repository)}/push"
    show(cli, cli.client().documents("POST", path, params, body={}, headers=[header(cli, name.server)]), 1, quiet)
    if quiet:
        cli.out(f"{name.familiar}\n")
    return 0


def _by_ssh(cli: Cli, options: "Options", target: str) -> int:
    from pier.cli.push_ssh import push

    if options.flag("all-tags"):
        raise CommandError("--all-tags goes to registries only: name one image behind ssh://HOST/")
    platform = options.text("platform")
    if platform:
        from pier.cli.platforms import parameter

        platform = parameter(platform)
    return push(cli, target, platform, options.flag("quiet"))
