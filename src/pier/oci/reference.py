"""Names of images: what a user may type, what it means, and how it is shown.

The grammar is that of the distribution project's reference package; so are the error texts, which clients show and match.
A short ("familiar") name means a repository on the default registry: `busybox` is `library/busybox` there, `user/app` is `user/app`.
In Pier that registry has the empty domain: which host serves it is the registry client's business, not the name's. Clients that
normalise names themselves spell it out (`docker tag` sends `docker.io/library/x`); both spellings are folded.
"""

import re
from dataclasses import dataclass, replace

from pier.errors import Invalid
from pier.oci import digest as digests

DEFAULT_TAG = "latest"
OFFICIAL_PREFIX = "library/"
MAX_NAME_LENGTH = 255

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_FULL = re.compile(rf"({_DOMAIN}/)?({_PATH})(?::({_TAG}))?(?:@({_DIGEST}))?")
_PATH_ONLY = re.compile(rf"({_PATH})(?::({_TAG}))?(?:@({_DIGEST}))?")
_TAG_ONLY = re.compile(_TAG)
_HEX64 = re.compile(r"[a-f0-9]{64}")

DEFAULT_DOMAINS = frozenset({"docker.io", "index.docker.io"})


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed name. Invariant: it satisfies the grammar; `domain` is "" for the default registry."""

    domain: str
    path: str
    tag: str | None = None
    digest: str | None = None

    @property
    def familiar_name(self) -> str:
        """The name without tag and digest as users see it: `busybox`, `127.0.0.1:5000/app`."""
        if self.domain:
            return f"{self.domain}/{self.path}"
        short = self.path.removeprefix(OFFICIAL_PREFIX)
        return self.path if "/" in short else short

    def __str__(self) -> str:
        """As users see it: `busybox:latest`, `app@sha256:...`."""
        return self.familiar_name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def repository(self) -> str:
        """Domain and path as one text that no other repository has (the key that is stored)."""
        return f"{self.domain}/{self.path}"

    def with_default_tag(self) -> "Reference":
        """The same with the tag `latest`, unless it has a tag or a digest."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> "Reference":
        """The same name with another tag. Raises Invalid (`invalid tag format`)."""
        if not _TAG_ONLY.fullmatch(tag):
            raise Invalid("invalid tag format")
        return replace(self, tag=tag)

    def bare(self) -> "Reference":
        """Without tag and digest."""
        return replace(self, tag=None, digest=None)


def parse(text: str) -> Reference:
    """What a user's name means. Raises Invalid with Docker's text."""
    if _HEX64.fullmatch(text):
        raise Invalid(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, rest = _split_domain(text)
    name = rest.partition(":")[0]
    if name.lower() != name:
        raise Invalid(f"invalid reference format: repository name ({name}) must be lowercase")
    found = _FULL.fullmatch(f"{domain}/{rest}") if domain else None
    if domain:
        if not found or found[1] != f"{domain}/":
            raise Invalid("invalid reference format")
        path, tag, digest = found[2], found[3], found[4]
    else:
        short = _PATH_ONLY.fullmatch(rest)
        if not short:
            raise Invalid("invalid reference format")
        path, tag, digest = short[1], short[2], short[3]
    if len(path) > MAX_NAME_LENGTH:
        raise Invalid(f"repository name must not be more than {MAX_NAME_LENGTH} characters")
    return Reference(domain, path, tag or None, digests.check(digest) if digest else None)


def parse_any(text: str) -> Reference | str:
    """A name, or an ID: 64 hex or a whole digest are returned as a digest text. Raises Invalid."""
    if _HEX64.fullmatch(text):
        return "sha256:" + text
    if digests.is_sha256(text):
        return text
    return parse(text)


def shown(name: Reference | str) -> str:
    """How "No such image" names what was asked for: with the tag that was implied; an ID as it is."""
    return name if isinstance(name, str) else str(name.with_default_tag())


def from_key(key: str) -> Reference:
    """The reference whose `repository` (with `:tag` or `@digest`) was stored."""
    domain, _, rest = key.partition("/")
    found = _PATH_ONLY.fullmatch(rest)
    if not found:
        raise ValueError(f"{key!r} is not a stored reference")
    return Reference(domain, found[1], found[2] or None, found[3] or None)


def key_of(name: Reference) -> str:
    """What `from_key` reads: repository with tag or digest, the digest winning."""
    return name.repository + (f"@{name.digest}" if name.digest else f":{name.tag or DEFAULT_TAG}")


def _split_domain(text: str) -> tuple[str, str]:
    """(domain, remainder): the first component is a domain if it has a dot, a colon or an upper-case letter, or is `localhost`."""
    first, slash, rest = text.partition("/")
    if not slash:
        return "", OFFICIAL_PREFIX + text
    if first == "localhost" or "." in first or ":" in first or first.lower() != first:
        if first not in DEFAULT_DOMAINS:
            return first, rest
        text = rest
    return "", text if "/" in text else OFFICIAL_PREFIX + text
