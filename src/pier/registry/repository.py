"""One repository on a registry: its manifests, tags and blobs. See the package's docstring for what all calls have in common."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from urllib.parse import urlencode

from pier.errors import Invalid, PierError
from pier.oci import descriptor, manifest
from pier.oci import digest as digests
from pier.oci.descriptor import Descriptor
from pier.oci.manifest import Index, Manifest
from pier.oci.reference import Reference
from pier.registry import scopes
from pier.registry.blob import Blob
from pier.registry.errors import Answered, Missing, Unreachable, Untrue, clean
from pier.registry.exchange import Ask, Endpoint, Exchange
from pier.registry.hosts import Op
from pier.registry.pages import MAX_PAGES, next_page
from pier.registry.transport import Body, Response
from pier.registry.upload import Progress, Source, Upload

MANIFESTS = (descriptor.OCI_INDEX, descriptor.DOCKER_INDEX, descriptor.OCI_MANIFEST, descriptor.DOCKER_MANIFEST)
"""All that Pier reads, as the header Accept names it."""
UNSPECIFIC = frozenset({"", "application/json", "text/plain", "application/octet-stream", "binary/octet-stream"})
OLD = frozenset({"application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws"})

T = TypeVar("T")


@dataclass(frozen=True)
class Fetched:
    """A manifest or an index: its bytes, what it was announced as ("" where that says nothing), its digest by its bytes, its meaning."""

    data: bytes
    media_type: str
    digest: str
    document: Manifest | Index


class Repository:
    """`reference` names it; its tag and digest do not matter here. Made by Registries.repository."""

    def __init__(self, reference: Reference, endpoints: Callable[[Op], Sequence[Endpoint]], exchange: Exchange, actions: tuple[str, ...]) -> None:
        self.reference = reference
        self._endpoints = endpoints
        self._exchange = exchange
        self._scopes = (scopes.repository(reference.path, *actions),)
        self._from: Op = "push" if "push" in actions else "pull"  # what is to be pushed is looked for where it goes to
        self._offered: dict[str, tuple[Endpoint, str]] = {}

    # Manifests

    def manifest(self, name: str, accept: Sequence[str] = MANIFESTS) -> Fetched:
        """The manifest or index of a tag or digest. Raises Missing, Denied, ...; Untrue for other bytes than asked for; Invalid for a bad one."""
        return self._each("pull", lambda endpoint: self._manifest(endpoint, name, accept))

    def _manifest(self, endpoint: Endpoint, name: str, accept: Sequence[str]) -> Fetched:
        ask = Ask("GET", f"/{self.reference.path}/manifests/{name}", self._scopes, {"Accept": ", ".join(accept)})
        with self._exchange.ask(endpoint, ask) as response:
            data = response.read_bounded(manifest.MAX_DOCUMENT_BYTES)
            announced, said = _media_type(response), response.headers.get("docker-content-digest", "")
        where = f"{self.reference.bare()}: manifest {name}"
        if len(data) > manifest.MAX_DOCUMENT_BYTES:
            raise Untrue(f"{where}: it has more than the {manifest.MAX_DOCUMENT_BYTES} bytes that a manifest may have")
        found = digests.of(data)
        for expected in (name if digests.is_sha256(name) else "", said if digests.is_sha256(said) else ""):
            if expected and expected != found:
                raise Untrue(f"{where}: {endpoint.host.name} sent other bytes than {expected}: they are {found}")
        if announced in OLD:
            raise Invalid(f"{where}: {_schema_1(self.reference)}")
        try:
            document = manifest.parse(data, announced)
        except Invalid as error:
            raise Invalid(f"{where}: {error}") from None
        return Fetched(data, announced or document.media_type, found, document)

    def head(self, name: str) -> Descriptor | None:
        """What a tag or digest names now, without fetching it; None where there is none of that name."""
        ask = Ask("HEAD", f"/{self.reference.path}/manifests/{name}", self._scopes, {"Accept": ", ".join(MANIFESTS)})

        def work(endpoint: Endpoint) -> Descriptor:
            with self._exchange.ask(endpoint, ask) as response:
                found = response.headers.get("docker-content-digest", "")
                if digests.is_sha256(found) and response.length is not None and _media_type(response):
                    return Descriptor(media_type=_media_type(response), digest=found, size=response.length)
            fetched = self._manifest(endpoint, name, MANIFESTS)  # an old registry: its answer to HEAD says too little
            return Descriptor(media_type=fetched.media_type, digest=fetched.digest, size=len(fetched.data))

        try:
            return self._each("push" if self._from == "push" else "resolve", work)
        except Missing:
            return None

    def put_manifest(self, name: str, data: bytes, media_type: str) -> str:
        """Store a manifest under a tag or its digest. Returns its digest; its blobs must be there."""
        path, headers = f"/{self.reference.path}/manifests/{name}", {"Content-Type": media_type}
        ask = Ask("PUT", path, self._scopes, headers, Body.of(data), frozenset({200, 201, 202}))

        def work(endpoint: Endpoint) -> str:
            with self._exchange.ask(endpoint, ask) as response:
                said = response.headers.get("docker-content-digest", "")
            if digests.is_sha256(said) and said != digests.of(data):
                raise Untrue(f"{self.reference.bare()}: {endpoint.host.name} stored the manifest {name} as {said}, not as {digests.of(data)}")
            return digests.of(data)

        return self._each("push", work)

    def delete(self, name: str) -> None:
        """Remove a tag, or a manifest by its digest. Raises Missing, Refused where the registry does not delete."""
        wanted = scopes.merge(*self._scopes, scopes.repository(self.reference.path, "delete"))
        ask = Ask("DELETE", f"/{self.reference.path}/manifests/{name}", wanted, ok=frozenset({200, 202, 204}))
        self._each("push", lambda endpoint: self._exchange.ask(endpoint, ask).close())

    def tags(self, limit: int | None = None) -> list[str]:
        """All tags in the registry's order, or the first `limit`."""
        return self._each("pull", lambda endpoint: listed(self._exchange, endpoint, f"/{self.reference.path}/tags/list", "tags", self._scopes, limit))

    # Blobs

    def blob(self, digest: str, *, start: int = 0, stop: int | None = None, urls: Sequence[str] = ()) -> Blob:
        """The bytes of a blob from `start` to before `stop`, as far as the server knows ranges: see Blob. Its digest is for the caller to verify.

        urls: other places that have it (foreign layers), asked when the registry has not; they get nothing of ours.
        """
        what = f"{self.reference.bare()}: blob {digest}"

        def open_at(endpoint: Endpoint, path: str, anonymous: bool, at: int) -> Response:
            wanted = {"Range": f"bytes={at}-{'' if stop is None else stop - 1}"} if at or stop is not None else {}
            return self._exchange.ask(endpoint, Ask("GET", path, self._scopes, wanted, ok=frozenset({200, 206}), anonymous=anonymous))

        def work(endpoint: Endpoint) -> Blob:
            return Blob(what, partial(open_at, endpoint, f"/{self.reference.path}/blobs/{digest}", False), self._exchange, start, stop)

        try:
            return self._each("pull", work)
        except Missing:
            endpoint = self._endpoints("pull")[-1]
            for url in urls:
                if url.startswith("https://") or (url.startswith("http://") and endpoint.insecure):
                    return Blob(what, partial(open_at, endpoint, url, True), self._exchange, start, stop)
            raise

    def blob_size(self, digest: str) -> int | None:
        """How many bytes a blob has, None where the repository has it not."""

        def work(endpoint: Endpoint) -> int | None:
            with self._exchange.ask(endpoint, Ask("HEAD", f"/{self.reference.path}/blobs/{digest}", self._scopes)) as response:
                return response.length or 0

        try:
            return self._each(self._from, work)
        except Missing:
            return None

    def mount(self, digest: str, source: Reference) -> bool:
        """Have a blob of another repository on this registry here too. False where the registry will not: then it has to be uploaded."""
        query = urlencode({"mount": digest, "from": source.path})
        wanted = scopes.merge(*self._scopes, scopes.repository(source.path, "pull"))
        ask = Ask("POST", f"/{self.reference.path}/blobs/uploads/?{query}", wanted, ok=frozenset({201, 202}))

        def work(endpoint: Endpoint) -> bool:
            with self._exchange.ask(endpoint, ask) as response:
                if response.status == 202:
                    self._offered[digest] = endpoint, response.headers.get("location", "")
                return response.status == 201

        try:
            return self._each("push", work)
        except Answered as error:
            if error.answer.status in (400, 401, 403, 404, 405):
                return False
            raise

    def upload(self, digest: str | None, size: int | None, source: Source, progress: Progress = lambda done: None) -> str:
        """Store a blob. digest, size: None while they are not known; then `source` knows them at its end. Returns the digest.

        progress is called with the bytes that went out, which go back where something has to be sent again. Ask `blob_size` and `mount` before.
        """
        endpoint, location = self._offered.pop(digest or "", (None, ""))
        if endpoint is not None and location:
            return Upload(self._exchange, endpoint, self.reference, self._scopes, source, progress).run(digest, size, location)
        return self._each("push", lambda e: Upload(self._exchange, e, self.reference, self._scopes, source, progress).run(digest, size))

    def _each(self, op: Op, work: Callable[[Endpoint], T]) -> T:
        """What the first host that can do it gives; a mirror that fails is told of and passed by."""
        endpoints = self._endpoints(op)
        for number, endpoint in enumerate(endpoints):
            try:
                return work(endpoint)
            except PierError as error:
                last = number + 1 == len(endpoints)
                other_scheme = not last and endpoints[number + 1].host is endpoint.host and isinstance(error, Unreachable)
                if last or not (endpoint.host.mirror or other_scheme):
                    raise
                if endpoint.host.mirror:
                    self._exchange.notice(f"mirror {endpoint.host.name} is passed by: {error}")
        raise Invalid(f"{self.reference.bare()}: no host is configured that allows to {op}")


def listed(exchange: Exchange, endpoint: Endpoint, path: str, key: str, wanted: tuple[str, ...], limit: int | None) -> list[str]:
    """The names under `key` on all pages of a list."""
    found: list[str] = []
    url = f"{path}?n={limit}" if limit else path
    for _ in range(MAX_PAGES):
        with exchange.ask(endpoint, Ask("GET", url, wanted)) as response:
            data = response.read_bounded(manifest.MAX_DOCUMENT_BYTES)
            after = next_page(response.url, response.all("link"))
        try:
            names = json.loads(data).get(key)
        except (ValueError, RecursionError, AttributeError):
            raise Untrue(f"{clean(response.url)}: not the JSON of a list") from None
        found += [clean(name) for name in names or [] if isinstance(name, str)]
        if after is None or (limit and len(found) >= limit):
            break
        url = after
    return found[:limit] if limit else found


def _media_type(response: Response) -> str:
    said = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return "" if said in UNSPECIFIC else said


def _schema_1(reference: Reference) -> str:
    return (
        "[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. "
        f"Suggest the author of {reference} to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2. "
        "More information at https://docs.docker.com/go/deprecated-image-specs/"
    )
