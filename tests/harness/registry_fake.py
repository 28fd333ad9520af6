"""A registry of our own for tests: OCI distribution 1.1 in memory, with a script of faults (registry_server.Fault) and a record of every request.

Blobs belong to repositories: what was pushed to one is in no other until it is mounted. `options` turn features off that a registry may lack.
"""

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .registry_images import OCI_INDEX, Document, Tree, digest_of
from .registry_server import Answer, Body, Request, Server

if TYPE_CHECKING:  # it makes keys, for which the guests of tests/vm have no library
    from .registry_tokens import Auth

_ROUTE = re.compile(r"/v2/(.+)/(manifests|blobs|tags|referrers)/(.*)")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass
class Options:
    """What a registry can do, and how it words it."""

    ranges: bool = True  # of blobs; else the whole blob with 200
    mounts: bool = True  # else an upload is begun
    referrers: bool = True  # the API; else 404, and clients keep a tag
    absolute_locations: bool = True
    deletes: bool = True
    catalog: bool = True
    blob_host: str = ""  # URL with a slash at the end: blobs are there, as with a content network
    upload_host: str = ""  # the same for uploads


@dataclass
class Repository:
    """`manifests`: digest -> (bytes, media type); `tags`: name -> digest; `blobs`: digests."""

    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    blobs: set[str] = field(default_factory=set)


@dataclass
class Upload:
    repository: str
    data: bytearray = field(default_factory=bytearray)


class FakeRegistry(Server):
    """The server; `add` puts images in, `repositories` and `blobs` show what is there. `auth`: Basic or TokenServer, None: everybody may all."""

    def __init__(self, *, auth: "Auth | None" = None, options: Options | None = None, **server: Any) -> None:
        self.auth, self.options = auth, options or Options()
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.uploads: dict[str, Upload] = {}
        super().__init__(**server)

    # -- for tests

    def add(self, repository: str, document: Document, *tags: str) -> str:
        """Put an image or an index in with all that it needs. Returns the reference by which it is pulled from here."""
        tree = Tree.of(document)
        there = self.repositories.setdefault(repository, Repository())
        self.blobs |= tree.blobs
        there.blobs |= set(tree.blobs)
        there.manifests |= {digest: (member.data, member.media_type) for digest, member in tree.documents.items()}
        there.tags |= dict.fromkeys(tags, document.digest)
        return f"{self.name}/{repository}" + (f":{tags[0]}" if tags else f"@{document.digest}")

    def manifest(self, repository: str, reference: str) -> bytes:
        """What is there under a tag or digest; KeyError."""
        there = self.repositories[repository]
        return there.manifests[there.tags.get(reference, reference)][0]

    # -- the protocol

    def answer(self, request: Request, body: Body) -> Answer:
        if request.path.rstrip("/") == "/v2":
            return self._refused(request, "", "") or _answer(200, {})
        if request.path == "/v2/_catalog" and self.options.catalog:
            return self._refused(request, "", "") or self._page(request, "repositories", sorted(self.repositories))
        found = _ROUTE.fullmatch(request.path)
        if not found:
            return _error(404, "NAME_UNKNOWN", "no such route")
        repository, kind, rest = found.groups()
        action = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(request.method, "push")
        if kind == "blobs" and rest.startswith("uploads"):
            action = "push"
        if refused := self._refused(request, repository, action):
            return refused
        serve: Callable[[Request, Body, str, str], Answer] = getattr(self, f"_{kind}")
        return serve(request, body, repository, rest)

    def _refused(self, request: Request, repository: str, action: str) -> Answer | None:
        if self.auth is None or self.auth.allows(request, repository, action):
            return None
        answer = _error(401, "UNAUTHORIZED", "authentication required")
        answer.headers["WWW-Authenticate"] = self.auth.challenge(request, repository, action)
        return answer

    def _page(self, request: Request, key: str, names: list[str], **more: Any) -> Answer:
        last, count = request.query.get("last", ""), int(request.query.get("n", 0) or 0)
        left = [name for name in names if name > last]
        page = left[:count] if count else left
        answer = _answer(200, {**more, key: page})
        if len(page) < len(left):
            answer.headers["Link"] = f'<{request.path}?last={page[-1]}&n={count}>; rel="next"'
        return answer

    def _tags(self, request: Request, body: Body, repository: str, rest: str) -> Answer:
        if repository not in self.repositories or rest != "list":
            return _error(404, "NAME_UNKNOWN", "repository name not known to registry", {"name": repository})
        return self._page(request, "tags", sorted(self.repositories[repository].tags), name=repository)

    # -- manifests

    def _manifests(self, request: Request, body: Body, repository: str, reference: str) -> Answer:
        if request.method == "PUT":
            return self._put_manifest(request, body.read(), repository, reference)
        there = self.repositories.get(repository, Repository())
        digest = there.tags.get(reference, reference)
        if digest not in there.manifests:
            return _error(404, "MANIFEST_UNKNOWN", "manifest unknown", {"Tag": reference})
        if request.method == "DELETE":
            return self._delete_manifest(there, reference)
        data, media_type = there.manifests[digest]
        return Answer(200, data, {"Content-Type": media_type, "Docker-Content-Digest": digest, "ETag": f'"{digest}"'})

    def _put_manifest(self, request: Request, data: bytes, repository: str, reference: str) -> Answer:
        digest = digest_of(data)
        if ":" in reference and reference != digest:
            return _error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        document = json.loads(data)
        there = self.repositories.setdefault(repository, Repository())
        needed = [layer["digest"] for layer in document.get("layers", []) if not layer.get("urls")]
        needed += [document["config"]["digest"]] if "config" in document else []
        if missing := [blob for blob in needed if blob not in there.blobs]:
            return _error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", missing)
        if missing := [entry["digest"] for entry in document.get("manifests", []) if entry["digest"] not in there.manifests]:
            return _error(400, "MANIFEST_UNKNOWN", "manifest unknown", missing)
        there.manifests[digest] = (data, request.headers.get("content-type", ""))
        if ":" not in reference:
            there.tags[reference] = digest
        answer = Answer(201, b"", {"Docker-Content-Digest": digest, "Location": self._location(f"/v2/{repository}/manifests/{digest}")})
        if "subject" in document and self.options.referrers:
            answer.headers["OCI-Subject"] = document["subject"]["digest"]
        return answer

    def _delete_manifest(self, there: Repository, reference: str) -> Answer:
        if not self.options.deletes:
            return _error(405, "UNSUPPORTED", "The operation is unsupported.")
        if reference in there.tags:
            del there.tags[reference]
        else:
            del there.manifests[reference]
            there.tags = {tag: digest for tag, digest in there.tags.items() if digest != reference}
        return Answer(202)

    def _referrers(self, request: Request, body: Body, repository: str, digest: str) -> Answer:
        if not self.options.referrers:
            return _error(404, "UNSUPPORTED", "The operation is unsupported.")
        entries, wanted = [], request.query.get("artifactType", "")
        for data, media_type in self.repositories.get(repository, Repository()).manifests.values():
            document = json.loads(data)
            if document.get("subject", {}).get("digest") != digest:
                continue
            kind = document.get("artifactType") or document.get("config", {}).get("mediaType", "")
            if wanted in ("", kind):
                entry = {"mediaType": media_type, "digest": digest_of(data), "size": len(data), "artifactType": kind}
                entries.append(entry | ({"annotations": document["annotations"]} if "annotations" in document else {}))
        answer = _answer(200, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
        answer.headers |= {"Content-Type": OCI_INDEX} | ({"OCI-Filters-Applied": "artifactType"} if wanted else {})
        return answer

    # -- blobs

    def _blobs(self, request: Request, body: Body, repository: str, rest: str) -> Answer:
        if rest.startswith("uploads"):
            return self._uploading(request, body, repository, rest.removeprefix("uploads").strip("/"))
        there = self.repositories.get(repository, Repository())
        if not _DIGEST.fullmatch(rest) or rest not in there.blobs:
            return _error(404, "BLOB_UNKNOWN", "blob unknown to registry", {"digest": rest})
        if request.method == "DELETE":
            if not self.options.deletes:
                return _error(405, "UNSUPPORTED", "The operation is unsupported.")
            there.blobs.discard(rest)
            return Answer(202)
        if self.options.blob_host and request.method == "GET":
            return Answer(307, b"", {"Location": f"{self.options.blob_host}{rest}"})
        return blob_answer(request, self.blobs[rest], rest, self.options.ranges)

    def _uploading(self, request: Request, body: Body, repository: str, key: str) -> Answer:
        if request.method == "POST" and not key:
            return self._begin(request, body, repository)
        upload = self.uploads.get(key)
        if upload is None or upload.repository != repository:
            return _error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        if request.method == "GET":
            return self._going_on(key, 204)
        if request.method == "DELETE":
            del self.uploads[key]
            return Answer(204)
        begins = re.match(r"(?:bytes[ =])?(\d+)-", request.headers.get("content-range", ""))
        if begins and int(begins[1]) != len(upload.data):
            return self._going_on(key, 416)
        for piece in body.pieces():
            upload.data += piece
        if request.method == "PATCH":
            return self._going_on(key, 202)
        return self._finish(request, key, request.query.get("digest", ""))

    def _begin(self, request: Request, body: Body, repository: str) -> Answer:
        there = self.repositories.setdefault(repository, Repository())
        wanted, source = request.query.get("mount", ""), self.repositories.get(request.query.get("from", ""))
        if wanted and source and wanted in source.blobs and self.options.mounts:
            may = self.auth is None or self.auth.allows(request, request.query["from"], "pull")
            if may:
                there.blobs.add(wanted)
                return self._made(repository, wanted)
        key = secrets.token_hex(8)
        self.uploads[key] = Upload(repository)
        if "digest" in request.query:
            self.uploads[key].data += body.read()
            return self._finish(request, key, request.query["digest"])
        return self._going_on(key, 202)

    def _finish(self, request: Request, key: str, digest: str) -> Answer:
        upload = self.uploads[key]
        if digest_of(bytes(upload.data)) != digest:
            return _error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        del self.uploads[key]
        self.blobs[digest] = bytes(upload.data)
        self.repositories.setdefault(upload.repository, Repository()).blobs.add(digest)
        return self._made(upload.repository, digest)

    def _made(self, repository: str, digest: str) -> Answer:
        return Answer(201, b"", {"Location": self._location(f"/v2/{repository}/blobs/{digest}"), "Docker-Content-Digest": digest})

    def _going_on(self, key: str, status: int) -> Answer:
        upload = self.uploads[key]
        path = f"/v2/{upload.repository}/blobs/uploads/{key}?state=of-{key}"
        where = f"{self.options.upload_host.rstrip('/')}{path}" if self.options.upload_host else self._location(path)
        return Answer(status, b"", {"Location": where, "Range": f"0-{max(len(upload.data) - 1, 0)}", "Docker-Upload-UUID": key})

    def _location(self, path: str) -> str:
        return self.url + path if self.options.absolute_locations else path


class BlobHost(Server):
    """Where a registry sends its clients for blobs: `/sha256:...` and nothing else. It must never see credentials."""

    def __init__(self, blobs: Mapping[str, bytes], **server: Any) -> None:
        self.blobs = blobs
        super().__init__(**server)

    def answer(self, request: Request, body: Body) -> Answer:
        digest = request.path.lstrip("/")
        if digest not in self.blobs:
            return Answer(404, b"<Error>NoSuchKey</Error>")
        return blob_answer(request, self.blobs[digest], digest, True)


def blob_answer(request: Request, data: bytes, digest: str, ranges: bool) -> Answer:
    """A blob or the range that was asked for."""
    headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if ranges:
        headers["Accept-Ranges"] = "bytes"
    if not asked or not ranges or request.method == "HEAD":
        return Answer(200, data, headers)
    start, stop = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
    if start > stop:
        return Answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{stop}/{len(data)}"
    return Answer(206, data, headers, start=start, length=stop - start + 1)


def _answer(status: int, document: object) -> Answer:
    return Answer(status, json.dumps(document).encode(), {"Content-Type": "application/json", "Docker-Distribution-API-Version": "registry/2.0"})


def _error(status: int, code: str, message: str, detail: object = None) -> Answer:
    return _answer(status, {"errors": [{"code": code, "message": message, "detail": detail}]})
