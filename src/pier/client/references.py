"""Names of images as the client understands them: pier.oci.reference without patterns, whose import would take longer than a command.

A test holds the two together. Grammar and texts: the distribution project's reference package.
"""

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_LETTERS = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX = frozenset("0123456789abcdef")
_DIGEST_CHARS = _LETTERS | frozenset("=_-")
_HUB_DOMAINS = frozenset(["docker.io", "index.docker.io"])
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
MAX_PATH_CHARS = 255
WRONG = "invalid reference format"


class Name:
    """A parsed name. `domain` is "" for Docker Hub, `tag` and `digest` are "" where there is none."""

    __slots__ = ("digest", "domain", "path", "tag")

    def __init__(self, domain: str, path: str, tag: str = "", digest: str = "") -> None:
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest

    @property
    def repository(self) -> str:
        """The name in full, without tag and digest: `docker.io/library/busybox`."""
        return f"{self.domain or 'docker.io'}/{self.path}"

    @property
    def full(self) -> str:
        """The name in full, with tag and digest where it has them."""
        return self.repository + self._rest

    @property
    def familiar(self) -> str:
        """The name as users write it: `busybox:1.36`."""
        if self.domain:
            return f"{self.domain}/{self.path}{self._rest}"
        short = self.path.removeprefix("library/")
        return (self.path if "/" in short else short) + self._rest

    @property
    def _rest(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def server(self) -> str:
        """The key of its registry's credentials."""
        from pier.client.credentials.servers import of_domain

        return of_domain(self.domain)

    def with_default_tag(self) -> "Name":
        """The same with the tag `latest`, unless it has a tag or a digest."""
        return self if self.tag or self.digest else Name(self.domain, self.path, "latest")


def parse(text: str) -> Name:
    """What a user's name means. Raises ValueError with Docker's text."""
    if len(text) == 64 and _HEX.issuperset(text):
        raise ValueError(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, rest = _split_domain(text)
    name = rest.partition(":")[0]
    if name.lower() != name:
        raise ValueError(f"{WRONG}: repository name ({name}) must be lowercase")
    path, at, digest = rest.partition("@")
    path, colon, tag = path.partition(":")
    sound = _is_path(path) and (not domain or _is_domain(domain)) and (not colon or _is_tag(tag)) and (not at or _is_like_digest(digest))
    if not sound:
        raise ValueError(WRONG)
    if len(path) > MAX_PATH_CHARS:
        raise ValueError(f"repository name must not be more than {MAX_PATH_CHARS} characters")
    if at:
        check_digest(digest)
    return Name(domain, path, tag, digest)


def check(text: str) -> None:
    """Refuse what can be neither a name nor an ID, as Docker's client does before it asks. Raises ValueError."""
    if not (len(text) == 64 and _HEX.issuperset(text)):
        parse(text)


def with_tag(text: str) -> str:
    """A name with `:latest` where it has neither tag nor digest; it is not parsed."""
    return text if "@" in text or ":" in text.rpartition("/")[2] else f"{text}:latest"


def check_digest(text: str) -> None:
    """Raises ValueError with Docker's text for what is no digest of a known algorithm."""
    algorithm, _, value = text.partition(":")
    if not value or not _DIGEST_CHARS.issuperset(value) or not _is_algorithm(algorithm):
        raise ValueError("invalid checksum digest format")
    length = _DIGEST_LENGTHS.get(algorithm)
    if length is None:
        raise ValueError("unsupported digest algorithm")
    if len(value) != length:
        raise ValueError("invalid checksum digest length")
    if not _HEX.issuperset(value):
        raise ValueError("invalid checksum digest format")


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash:
        return "", f"library/{text}"
    if first == "localhost" or "." in first or ":" in first or first.lower() != first:
        if first not in _HUB_DOMAINS:
            return first, rest
        text = rest
    return "", text if "/" in text else f"library/{text}"


def _is_path(path: str) -> bool:
    return all(_is_component(component) for component in path.split("/"))


def _is_component(text: str) -> bool:
    """Runs of lower-case letters and digits, with `.`, `_`, `__` or any number of `-` between."""
    if not text or text[0] not in _LOWER or text[-1] not in _LOWER:
        return False
    separator = ""
    for char in text:
        if char in _LOWER:
            if separator not in ("", ".", "_", "__") and separator.strip("-"):
                return False
            separator = ""
        else:
            separator += char
    return True


def _is_domain(text: str) -> bool:
    if text.startswith("["):
        address, bracket, port = text[1:].partition("]")
        inside = bool(bracket and address) and all(char in "0123456789abcdefABCDEF:" for char in address)
        return inside and (not port or (port[0] == ":" and _is_port(port[1:])))
    host, colon, port = text.partition(":")
    labels = all(label and _LETTERS.issuperset(label.replace("-", "a")) and label[0] != "-" and label[-1] != "-" for label in host.split("."))
    return labels and (not colon or _is_port(port))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_tag(text: str) -> bool:
    allowed = _LETTERS | frozenset("_.-")
    return 0 < len(text) <= 128 and text[0] not in ".-" and allowed.issuperset(text)


def _is_like_digest(text: str) -> bool:
    """ALGORITHM:HEX with at least 32 digits in either case; whether it is a known one is asked later."""
    algorithm, colon, value = text.partition(":")
    parts = algorithm.replace("-", "+").replace("_", "+").replace(".", "+").split("+")
    named = all(part and part.isascii() and part[0].isalpha() and part.isalnum() for part in parts)
    return bool(colon) and named and len(value) >= 32 and all(char in "0123456789abcdefABCDEF" for char in value)


def _is_algorithm(text: str) -> bool:
    parts = text.replace("-", "+").replace("_", "+").replace(".", "+").split("+")
    return all(part and _LOWER.issuperset(part) for part in parts)
