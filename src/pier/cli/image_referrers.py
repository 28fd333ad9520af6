"""`pier image referrers`: what a registry has that is about an image: signatures, attestations, SBOMs."""

from pier.cli.format_help import TABLE_FORMAT_HELP
from pier.cli.formats import Row, write
from pier.cli.remote_values import INSECURE, named
from pier.cli.session import Cli, CommandError
from pier.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS] NAME[:TAG|@DIGEST]"
SHORT = "List what on its registry refers to an image"
FLAGS = (
    ("format", "", "string", TABLE_FORMAT_HELP),
    INSECURE,
    ("quiet", "q", "bool", "Only show digests"),
    ("type", "", "string", 'Only of this type of artifact (e.g., "application/spdx+json")'),
)
ARGS = (1, 1)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """A row for each, in the registry's order; 0, also where there is none."""
    name = named(args[0]).with_default_tag()
    from pier.cli import remote

    with remote.repository(cli, name, options) as where:
        digest = name.digest
        if not digest:
            found = where.head(name.tag)
            if found is None:
                raise CommandError(f"{name.familiar}: its registry has no image of that name")
            digest = found.digest
        rows = [ReferrerRow(each) for each in where.referrers(digest, options.text("type")).manifests]
    if options.flag("quiet") and not options.text("format"):
        cli.out("".join(f"{row.Digest()}\n" for row in rows))
        return 0
    write(cli, options.text("format"), ("Digest", "ArtifactType", "Size"), rows, ReferrerRow)
    return 0


class ReferrerRow(Row):
    """A manifest that is about another, as the registry lists it."""

    TYPE = "*image.referrerContext"
    FIELDS = ("ArtifactType", "Digest", "MediaType", "Size")
    HEADERS = {"Digest": "DIGEST", "ArtifactType": "ARTIFACT TYPE", "MediaType": "MEDIA TYPE", "Size": "SIZE"}  # noqa: RUF012

    def __init__(self, found: "Any") -> None:
        """found: its descriptor."""
        self.found = found

    def Digest(self) -> str:
        """By which it can be had: NAME@DIGEST."""
        return str(self.found.digest)

    def ArtifactType(self) -> str:
        """What it is."""
        return str(self.found.artifact_type or "")

    def MediaType(self) -> str:
        """In what form."""
        return str(self.found.media_type)

    def Size(self) -> str:
        """Of the manifest alone."""
        return human_size(self.found.size)
