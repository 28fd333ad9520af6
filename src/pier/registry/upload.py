"""Storing a blob: POST for a place, PATCH with the bytes, PUT with the digest; what breaks goes on from where the registry says it is.

Source: distribution specification 1.1, "Pushing blobs". A chunk has a known length, so a source that still grows is waited for, a chunk at a time;
chunks double from FIRST_CHUNK, so that sending begins early and a long blob takes few round trips. A registry that takes none gets one PUT.
"""

from collections.abc import Callable, Iterator
from typing import Protocol
from urllib.parse import urlencode

from pier.errors import PierError
from pier.oci import digest as digests
from pier.oci.reference import Reference
from pier.registry import redirect
from pier.registry.endpoints import Endpoint
from pier.registry.errors import Answered, Missing, Overloaded, Refused, Unreachable, Untrue, clean
from pier.registry.exchange import Ask, Exchange
from pier.registry.transport import SEND_BYTES, Body, Response

FIRST_CHUNK = 4 << 20
LARGEST_CHUNK = 64 << 20
MAX_MIN_CHUNK = 1 << 30

Progress = Callable[[int], None]


class Source(Protocol):
    """Where the bytes of an upload come from; they may still be made while they are sent."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`, at least one: waits while there are none yet; b"" at the end."""
        ...

    @property
    def digest(self) -> str:
        """The digest of all bytes, once `read` has said that there are no more."""
        ...


class _Broken(Exception):
    """The session cannot go on: `cause` says why, `chunks` whether the next one may try chunks."""

    def __init__(self, cause: PierError, chunks: bool) -> None:
        self.cause, self.chunks = cause, chunks
        super().__init__(str(cause))


class Upload:
    """One blob on its way to one endpoint."""

    def __init__(
        self, exchange: Exchange, endpoint: Endpoint, reference: Reference, wanted: tuple[str, ...], source: Source, progress: Progress
    ) -> None:  # fmt: skip
        self._exchange = exchange
        self._endpoint = endpoint
        self._reference = reference
        self._scopes = wanted
        self._source = source
        self._progress = progress
        self._location = ""
        self._chunk = FIRST_CHUNK
        self._failures = 0

    def run(self, digest: str | None, size: int | None, location: str = "") -> str:
        """All of it; returns the digest. location: of a session that is open already."""
        chunks = True
        while True:
            try:
                if location:
                    self._move(self._endpoint.base, location)
                    location = ""
                else:
                    self._open()
                offset, end = self._patches(size) if chunks else (0, self._extent(0, size, None))
                return self._finish(digest, offset, end)
            except _Broken as broken:
                if chunks and not broken.chunks:
                    chunks = False
                    continue
                self._failures += 1
                if not self._exchange.pause(self._failures, broken.cause):
                    raise broken.cause from None

    def _open(self) -> None:
        ask = Ask("POST", f"/{self._reference.path}/blobs/uploads/", self._scopes, ok=frozenset({202}))
        with self._exchange.ask(self._endpoint, ask) as response:
            self._moved(response)
            least = response.headers.get("oci-chunk-min-length", "")
        if least.isascii() and least.isdigit() and int(least) <= MAX_MIN_CHUNK:
            self._chunk = max(self._chunk, int(least))

    def _patches(self, size: int | None) -> tuple[int, int]:
        """Send chunks until what is left fits the last PUT. Returns (bytes sent, bytes in all)."""
        offset = 0
        while True:
            end = self._extent(offset, size, offset + self._chunk)
            if self._ends_at(end, size):
                return offset, end
            offset = self._patch(offset, end)
            self._chunk = min(max(self._chunk, min(self._chunk * 2, LARGEST_CHUNK)), MAX_MIN_CHUNK)

    def _patch(self, offset: int, end: int) -> int:
        """Send one chunk; returns how far the registry is then."""
        headers = {"Content-Type": "application/octet-stream", "Content-Range": f"{offset}-{end - 1}"}
        ask = Ask("PATCH", self._location, self._scopes, headers, self._body(offset, end), frozenset({202, 204, 201}), repeat=False)
        try:
            with self._exchange.ask(self._endpoint, ask) as response:
                self._moved(response)
                self._failures = 0
                return _reached(response, end)
        except (Unreachable, Overloaded) as failure:
            return self._resume(failure, offset)
        except Answered as failure:
            if isinstance(failure, Missing | Refused) and failure.answer.status in (400, 404, 405, 411, 413, 416, 501):
                if failure.answer.status == 416:
                    return self._resume(failure, offset)
                raise _Broken(failure, chunks=False) from None
            raise

    def _resume(self, failure: PierError, offset: int) -> int:
        """After a break: how far the registry is, asked at the upload's own location. Raises _Broken where it knows nothing of it any more."""
        self._failures += 1
        if not self._exchange.pause(self._failures, failure):
            raise failure
        try:
            with self._exchange.ask(self._endpoint, Ask("GET", self._location, self._scopes, ok=frozenset({204, 202, 200}))) as response:
                self._moved(response)
                reached = _reached(response, 0)
        except Answered:
            raise _Broken(failure, chunks=True) from None
        if reached > offset:
            self._failures = 0
        self._progress(reached)
        return reached

    def _finish(self, digest: str | None, offset: int, end: int) -> str:
        """The PUT with what is left."""
        digest = digest or self._source.digest
        location = self._location + ("&" if "?" in self._location else "?") + urlencode({"digest": digest})
        headers = {"Content-Type": "application/octet-stream"}
        if offset and end > offset:
            headers["Content-Range"] = f"{offset}-{end - 1}"
        ask = Ask("PUT", location, self._scopes, headers, self._body(offset, end), frozenset({201, 204}), repeat=False)
        try:
            with self._exchange.ask(self._endpoint, ask) as response:
                said = response.headers.get("docker-content-digest", "")
        except (Unreachable, Overloaded) as failure:
            if self._is_there(digest):
                return digest
            raise _Broken(failure, chunks=True) from None
        except Answered as failure:
            if failure.answer.status in (404, 416) and offset:
                raise _Broken(failure, chunks=False) from None
            raise
        if digests.is_sha256(said) and said != digest:
            raise Untrue(f"{self._reference.bare()}: {self._endpoint.host.name} stored the blob {digest} as {clean(said)}")
        return digest

    def _is_there(self, digest: str) -> bool:
        """Whether the PUT whose answer was lost did its work."""
        try:
            self._exchange.ask(self._endpoint, Ask("HEAD", f"/{self._reference.path}/blobs/{digest}", self._scopes)).close()
        except (Answered, Unreachable):
            return False
        return True

    def _body(self, offset: int, end: int) -> Body:
        def chunks() -> Iterator[bytes]:
            at = offset
            while at < end:
                data = self._source.read(at, min(SEND_BYTES, end - at))
                if not data:
                    raise Untrue(f"{self._reference.bare()}: a blob being uploaded has become shorter: {at} of {end} bytes")
                yield data
                at += len(data)
                self._progress(at)

        return Body(end - offset, chunks)

    def _extent(self, offset: int, size: int | None, want: int | None) -> int:
        """The byte before which a chunk from `offset` ends: `want`, or the end of the source if that comes first. Waits for a source that grows."""
        if size is not None:
            return size if want is None else min(size, want)
        if want is not None and self._source.read(want - 1, 1):
            return want
        at = offset
        while data := self._source.read(at, 1 << 20):
            at += len(data)
        return at

    def _ends_at(self, end: int, size: int | None) -> bool:
        return end == size if size is not None else not self._source.read(end, 1)

    def _moved(self, response: Response) -> None:
        location = response.headers.get("location", "")
        if location:
            self._move(response.url, location)
        elif not self._location:
            raise Untrue(f"{self._reference.bare()}: {self._endpoint.host.name} began an upload without saying where (no Location)")

    def _move(self, base: str, location: str) -> None:
        try:
            self._location = redirect.resolve(base, location, insecure=self._endpoint.insecure)
        except redirect.BadLocation as error:
            raise Untrue(f"{self._reference.bare()}: {self._endpoint.host.name} names a place for an upload that is none: {error}") from None


def _reached(response: Response, usual: int) -> int:
    """How many bytes the registry has by its header Range (`0-N`, N the last byte's number); `usual` where it says nothing."""
    first, dash, last = response.headers.get("range", "").removeprefix("bytes=").partition("-")
    if first != "0" or not dash or not (last.isascii() and last.isdigit() and len(last) < 19):
        return usual
    return int(last) + 1 if last != "0" else (usual if usual <= 1 else 0)
