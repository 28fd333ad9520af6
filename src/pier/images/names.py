"""Names given to images: what `repo` and `tag` of a request mean, and the names an archive may bring. Pure."""

from pier.errors import Invalid
from pier.oci.reference import Reference, parse


def from_request(repo: str, tag: str) -> Reference | None:
    """The name that the parameters `repo` and `tag` make; None without a repo. Raises Invalid with Docker's texts."""
    if not repo:
        return None
    name = parse(repo)
    if name.digest:
        raise Invalid("cannot import digest reference")
    if tag:
        name = name.with_tag(tag)
    return name.with_default_tag()


def from_archive(text: str) -> Reference:
    """A name in an image archive; it must have a tag. Raises Invalid."""
    name = parse(text)
    if not name.tag or name.digest:
        raise Invalid(f'invalid tag "{text}"')
    return name


def short_id(identity: str) -> str:
    """Twelve digits of an ID."""
    return identity.removeprefix("sha256:")[:12]


def means_id(identity: str, text: str) -> bool:
    """Whether `text` is the beginning of that ID, and so no name that was resolved."""
    return identity.startswith(text) or identity.removeprefix("sha256:").startswith(text)
