"""One repository on a registry: its manifests, tags and blobs. See the package's docstring for what all calls have in common."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlencode

from pier.errors import Invalid
from pier.oci import descriptor, manifest
from pier.oci import digest as digests
from pier.oci.descriptor import Descriptor
from pier.oci.manifest import Index, Manifest
from pier.oci.reference import Reference
from pier.registry import scopes
from pier.registry.blob import Blob, Places
from pier.registry.endpoints import Endpoint, Endpoints
from pier.registry.errors import Answered, Missing, Untrue
from pier.registry.exchange import Ask, Exchange
from pier.registry.hosts import Op
from pier.registry.pages import names
from pier.registry.referrers import Referrers, subject
from pier.registry.transport import Body, Response
from pier.registry.upload import Progress, Source, Upload

MANIFESTS = (descriptor.OCI_INDEX, descriptor.DOCKER_INDEX, descriptor.OCI_MANIFEST, descriptor.DOCKER_MANIFEST)
"""All that Pier reads, as the header Accept names it."""
UNSPECIFIC = frozenset({"", "application/json", "text/plain", "application/octet-stream", "binary/octet-stream"})
OLD = frozenset({"application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws"})


@dataclass(frozen=True)
class Fetched:
    """A manifest or an index: its bytes, what it was announced as ("" where that says nothing), its digest by its bytes, its meaning."""

    data: bytes
    media_type: str
    digest: str
    document: Manifest | Index


class Repository:
    """`reference` names it; its tag and digest do not matter here. Made by Registries.repository."""

    def __init__(self, reference: Reference, endpoints: Endpoints, exchange: Exchange, actions: tuple[str, ...]) -> None:
        self.reference = reference
        self._endpoints = endpoints
        self._exchange = exchange
        self._scopes = (scopes.repository(reference.path, *actions),)
        self._from: Op = "push" if "push" in actions else "pull"  # what is to be pushed is looked for where it goes to
        self._offered: dict[str, tuple[Endpoint, str]] = {}

    # Manifests

    def manifest(self, name: str, accept: Sequence[str] = MANIFESTS) -> Fetched:
        """The manifest or index of a tag or digest. Raises Missing, Denied, ...; Untrue for other bytes than asked for; Invalid for a bad one."""
        op: Op = "pull" if ":" in name else "resolve"  # who may only give bytes is not believed what a tag means
        return self._endpoints.each(op, lambda endpoint: self.fetch(endpoint, name, accept))

    def fetch(self, endpoint: Endpoint, name: str, accept: Sequence[str] = MANIFESTS) -> Fetched:
        """The same of one endpoint."""
        ask = Ask("GET", self._manifest(name), self._scopes, {"Accept": ", ".join(accept)})
        with self._exchange.ask(endpoint, ask) as response:
            data = response.read_bounded(manifest.MAX_DOCUMENT_BYTES)
            announced, said = _media_type(response), response.headers.get("docker-content-digest", "")
        where = f"{self.reference.bare()}: manifest {name}"
        if len(data) > manifest.MAX_DOCUMENT_BYTES:
            raise Untrue(f"{where}: it has more than the {manifest.MAX_DOCUMENT_BYTES} bytes that a manifest may have")
        for expected in (name if ":" in name else "", said if digests.is_sha256(said) else ""):
            if expected and (found := _digest_like(expected, data)) != expected:
                raise Untrue(f"manifest verification failed for digest {expected}: {endpoint.host.name} sent {found} for {where}")
        if announced in OLD:
            raise Invalid(f"{where}: {_schema_1(self.reference)}")
        try:
            document = manifest.parse(data, announced)
        except Invalid as error:
            raise Invalid(f"{where}: {error}") from None
        return Fetched(data, announced or document.media_type, name if ":" in name else digests.of(data), document)

    def head(self, name: str) -> Descriptor | None:
        """What a tag or digest names now, without fetching it; None where there is none of that name."""
        ask = Ask("HEAD", self._manifest(name), self._scopes, {"Accept": ", ".join(MANIFESTS)})

        def work(endpoint: Endpoint) -> Descriptor:
            with self._exchange.ask(endpoint, ask) as response:
                found = response.headers.get("docker-content-digest", "")
                known = found == name if ":" in name else digests.is_sha256(found)
                if known and response.length is not None and _media_type(response):
                    return Descriptor(media_type=_media_type(response), digest=found, size=response.length)
            fetched = self.fetch(endpoint, name)  # its answer to HEAD says too little, or something else than was asked
            return Descriptor(media_type=fetched.media_type, digest=fetched.digest, size=len(fetched.data))

        try:
            return self._endpoints.each("push" if self._from == "push" else "resolve", work)
        except Missing:
            return None

    def put_manifest(self, name: str, data: bytes, media_type: str) -> str:
        """Store a manifest under a tag or its digest; its blobs must be there. Returns its digest.

        One that is about another (`subject`) is listed among the other's referrers, by the registry or, where it cannot, under the fallback tag.
        """

        def work(endpoint: Endpoint) -> str:
            said = self.put(endpoint, name, data, media_type)
            if (about := subject(data)) is not None and not said.get("oci-subject"):
                Referrers(self, self._exchange, endpoint, self._scopes).add(about, data, media_type)
            return digests.of(data)

        return self._endpoints.each("push", work)

    def put(self, endpoint: Endpoint, name: str, data: bytes, media_type: str) -> Mapping[str, str]:
        """The same at one endpoint and without the list. Returns the headers of the answer."""
        headers, ok = {"Content-Type": media_type}, frozenset({200, 201, 202})
        with self._exchange.ask(endpoint, Ask("PUT", self._manifest(name), self._scopes, headers, Body.of(data), ok)) as response:
            said = response.headers.get("docker-content-digest", "")
        if digests.is_sha256(said) and said != digests.of(data):
            raise Untrue(f"{self.reference.bare()}: {endpoint.host.name} stored the manifest {name} as {said}, not as {digests.of(data)}")
        return response.headers

    def delete(self, name: str) -> None:
        """Remove a tag, or a manifest by its digest, which is not listed any more among the referrers of what it was about then.

        Raises Missing, Refused where the registry does not delete.
        """
        wanted = scopes.merge(*self._scopes, scopes.repository(self.reference.path, "delete"))
        ask = Ask("DELETE", self._manifest(name), wanted, ok=frozenset({200, 202, 204}))

        def work(endpoint: Endpoint) -> None:
            about = subject(self.fetch(endpoint, name).data) if ":" in name else None
            self._exchange.ask(endpoint, ask).close()
            if about is not None:
                Referrers(self, self._exchange, endpoint, self._scopes).drop(about, name)

        self._endpoints.each("push", work)

    def tags(self, limit: int | None = None) -> list[str]:
        """All tags in the registry's order, or the first `limit`."""
        path = f"/{self.reference.path}/tags/list"
        return self._endpoints.each("resolve", lambda endpoint: names(self._exchange, endpoint, path, "tags", self._scopes, limit))

    def referrers(self, digest: str, artifact_type: str = "") -> Index:
        """The manifests that say that they are about `digest`: signatures, SBOMs...; of one type, or all."""
        return self._endpoints.each("resolve", lambda endpoint: Referrers(self, self._exchange, endpoint, self._scopes).of(digest, artifact_type))

    # Blobs

    def blob(self, digest: str, *, start: int = 0, stop: int | None = None, urls: Sequence[str] = (), mirrors: bool = True) -> Blob:
        """The bytes of a blob from `start` to before `stop`, as far as the server knows ranges: see Blob. Its digest is for the caller to verify.

        urls: other places that have it (foreign layers), asked when the registry has not; they get nothing of ours. mirrors: False: of the registry
        itself, when what a mirror gave was wrong.
        """
        places = Places(self._endpoints, self._exchange, self._blob(digest), self._scopes, stop, urls, mirrors)
        with self._naming(f"blob {digest}") as what:
            return Blob(what, places, start, stop)

    def blob_size(self, digest: str) -> int | None:
        """How many bytes a blob has, None where the repository has it not."""

        def work(endpoint: Endpoint) -> int | None:
            with self._exchange.ask(endpoint, Ask("HEAD", self._blob(digest), self._scopes)) as response:
                return response.length

        try:
            with self._naming(f"blob {digest}"):
                size = self._endpoints.each(self._from, work)
        except Missing:
            return None
        if size is None:
            with self.blob(digest, stop=1) as blob:
                size = blob.total or 0
        return size

    def mount(self, digest: str, source: Reference) -> bool:
        """Have a blob of another repository on this registry here too. False where the registry will not: then it has to be uploaded."""
        if source.domain != self.reference.domain:
            return False
        query = urlencode({"mount": digest, "from": source.path})
        wanted = scopes.merge(*self._scopes, scopes.repository(source.path, "pull"))
        ask = Ask("POST", f"/{self.reference.path}/blobs/uploads/?{query}", wanted, ok=frozenset({201, 202}))

        def work(endpoint: Endpoint) -> bool:
            with self._exchange.ask(endpoint, ask) as response:
                if response.status == 202:
                    self._offered[digest] = endpoint, response.headers.get("location", "")
                return response.status == 201

        try:
            return self._endpoints.each("push", work)
        except Answered as error:
            if error.answer.status in (400, 401, 403, 404, 405):
                return False
            raise

    def upload(self, digest: str | None, size: int | None, source: Source, progress: Progress = lambda done: None) -> str:
        """Store a blob. digest, size: None while they are not known; then `source` knows them at its end. Returns the digest.

        progress is called with the bytes that went out, which go back where something has to be sent again. Ask `blob_size` and `mount` before.
        """
        offered = self._offered.pop(digest or "", None)

        def work(endpoint: Endpoint) -> str:
            upload = Upload(self._exchange, endpoint, self.reference, self._scopes, source, progress)
            return upload.run(digest, size, offered[1] if offered and offered[0] == endpoint else "")

        with self._naming(f"blob {digest}" if digest else "a blob"):
            return self._endpoints.each("push", work)

    def _manifest(self, name: str) -> str:
        """Its path; Invalid for what is neither a tag nor a digest."""
        return f"/{self.reference.path}/manifests/{digests.check(name) if ':' in name else self.reference.with_tag(name).tag}"

    def _blob(self, digest: str) -> str:
        return f"/{self.reference.path}/blobs/{digests.check(digest)}"

    @contextmanager
    def _naming(self, what: str) -> Iterator[str]:
        """Errors within name the repository and what was wanted of it, where Docker's clients do not expect other words."""
        named = f"{self.reference.bare()}: {what}"
        try:
            yield named
        except Answered as error:
            raise error.about(named) from None


def _media_type(response: Response) -> str:
    said = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return "" if said in UNSPECIFIC else said


def _digest_like(expected: str, data: bytes) -> str:
    """The digest of `data` by the algorithm of another, which was checked."""
    algorithm = expected.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def _schema_1(reference: Reference) -> str:
    return (
        "[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. "
        f"Suggest the author of {reference} to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2. "
        "More information at https://docs.docker.com/go/deprecated-image-specs/"
    )
