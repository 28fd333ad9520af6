"""Storing a blob: POST for a place, PATCH with the bytes, PUT with the digest; what breaks goes on from where the registry says it is.

Source: distribution specification 1.1, "Pushing blobs". A chunk has a known length, so a source that still grows is waited for, a chunk at a time;
chunks double from FIRST_CHUNK, so that sending begins early and a long blob takes few round trips. A registry that takes none gets one PUT.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol
from urllib.parse import urlencode

from pier.errors import PierError
from pier.oci import digest as digests
from pier.oci.reference import Reference
from pier.registry import redirect
from pier.registry.endpoints import Endpoint
from pier.registry.errors import Answered, NotKnown, Overloaded, Unreachable, Untrue
from pier.registry.exchange import Ask, Exchange
from pier.registry.transport import SEND_BYTES, Body, Response

FIRST_CHUNK = 4 << 20
LARGEST_CHUNK = 64 << 20  # below what well-known proxies take in one request (100 MB)
LARGEST_MINIMUM = 1 << 30
CHUNKLESS = frozenset({400, 404, 405, 411, 413, 416, 501})  # what registries answer that want all in one PUT
ACCEPTED = frozenset({201, 202, 204})

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


class _SourceFailed(Exception):
    """What a source raised: wrapped, so that nobody takes it for a failure of the connection."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause
        super().__init__()


class Upload:
    """One blob on its way to one endpoint. State: where the next bytes go (`_location`, "" for nowhere yet), and how many are there (`_offset`)."""

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
        self._offset = 0
        self._chunk = FIRST_CHUNK
        self._chunks = True
        self._failures = 0
        self._sent = self._farthest = 0

    def run(self, digest: str | None, size: int | None, location: str = "") -> str:
        """All of it; returns the digest. location: of an upload that is open already. Raises what the source raises, too."""
        try:
            if location:
                self._move(f"{self._endpoint.base}/", location)
            while True:
                done = self._step(digest, size)
                if done:
                    return done
        except _SourceFailed as failed:
            raise failed.cause from None

    def _step(self, digest: str | None, size: int | None) -> str:
        """One request further; the digest if that was the last one."""
        if not self._location:
            self._open()
        end, last = self._extent(size)
        known = (digest or self._source.digest) if last else ""
        try:
            if last:
                return self._finish(known, end)
            self._patch(end)
        except (Unreachable, Overloaded) as failure:
            if isinstance(failure, Overloaded) and failure.answer.status in CHUNKLESS:
                self._chunkless(failure)
            elif last and self._is_there(known):
                return known
            else:
                self._resume(failure)
        except Answered as failure:
            if failure.answer.status == 416 and self._chunks and not self._failures:
                self._resume(failure)
            else:
                self._chunkless(failure)
        return ""

    def _open(self) -> None:
        path = f"/{self._reference.path}/blobs/uploads/"
        with self._exchange.ask(self._endpoint, Ask("POST", path, self._scopes, ok=ACCEPTED)) as response:
            self._moved(response)
            least = response.headers.get("oci-chunk-min-length", "")
        self._offset = 0
        if least.isascii() and least.isdigit() and int(least[:19]) <= LARGEST_MINIMUM:
            self._chunk = max(self._chunk, int(least))

    def _patch(self, end: int) -> None:
        """Send the bytes to `end`."""
        headers = {"Content-Type": "application/octet-stream", "Content-Range": f"{self._offset}-{end - 1}"}
        ask = Ask("PATCH", self._location, self._scopes, headers, self._body(end), ACCEPTED, repeat=False, tries=1)
        with self._exchange.ask(self._endpoint, ask) as response:
            self._moved(response)
            before = self._farthest
            self._reached(response, end)
            if self._farthest == before:
                raise Unreachable("PATCH", response.url, f"the registry keeps {self._offset} bytes and takes no more")
        self._chunk = max(self._chunk, min(self._chunk * 2, LARGEST_CHUNK))

    def _finish(self, digest: str, end: int) -> str:
        """The PUT with the bytes to `end`, the last ones."""
        location = self._location + ("&" if "?" in self._location else "?") + urlencode({"digest": digest})
        headers = {"Content-Type": "application/octet-stream"}
        if 0 < self._offset < end:
            headers["Content-Range"] = f"{self._offset}-{end - 1}"
        ask = Ask("PUT", location, self._scopes, headers, self._body(end), ACCEPTED, repeat=False, tries=1)
        with self._exchange.ask(self._endpoint, ask) as response:
            said = response.headers.get("docker-content-digest", "")
        if digests.is_sha256(said) and digests.is_sha256(digest) and said != digest:
            raise Untrue(f"{self._reference.bare()}: {self._endpoint.host.name} stored the blob {digest} as {said}")
        return digest

    def _resume(self, failure: PierError) -> None:
        """After a break: pause, then ask the upload's own location how far it is. If nobody knows it any more the next one begins at 0."""
        self._failures += 1
        after_s = failure.answer.retry_after_s if isinstance(failure, Answered) else None
        if not self._exchange.pause(self._failures, failure, after_s):
            raise failure
        try:
            with self._exchange.ask(self._endpoint, Ask("GET", self._location, self._scopes, ok=ACCEPTED | {200})) as response:
                self._moved(response)
                self._reached(response, 0)
        except Answered as error:
            if isinstance(error, NotKnown):
                raise
            self._location = ""
            self._offset = 0
        self._progress(self._offset)

    def _chunkless(self, failure: Answered) -> None:
        """A registry that refuses chunks gets everything in a request of its own, as soon as everything is there."""
        was_whole = failure.answer.method == "PUT" and not self._offset
        if not self._chunks or was_whole or failure.answer.status not in CHUNKLESS:
            raise failure
        self._chunks = False
        self._location = ""
        self._progress(0)

    def _is_there(self, digest: str) -> bool:
        """Whether the PUT whose answer was lost did its work."""
        try:
            self._exchange.ask(self._endpoint, Ask("HEAD", f"/{self._reference.path}/blobs/{digest}", self._scopes)).close()
        except (Answered, Unreachable):
            return False
        return True

    def _body(self, end: int) -> Body:
        offset = self._offset
        self._sent = max(self._sent, end)

        def pieces() -> Iterator[bytes]:
            at = offset
            while at < end:
                data = self._read(at, min(SEND_BYTES, end - at))
                if not data:
                    raise _SourceFailed(Untrue(f"{self._reference.bare()}: a blob being uploaded has become shorter: {at} of {end} bytes"))
                yield data
                at += len(data)
                self._progress(at)

        return Body(end - offset, pieces)

    def _extent(self, size: int | None) -> tuple[int, bool]:
        """The byte before which the next request ends, and whether that is the end of all. Waits for a source that grows."""
        want = self._offset + self._chunk if self._chunks else None
        if size is not None:
            return (size, True) if want is None or want >= size else (want, False)
        if want is not None and self._read(want, 1):
            return want, False
        at = self._offset
        while data := self._read(at, 1 << 20):
            at += len(data)
        return at, True

    def _read(self, offset: int, size: int) -> bytes:
        try:
            return self._source.read(offset, size)
        except Exception as error:  # whatever it is, it is no failure of the registry's
            raise _SourceFailed(error) from None

    def _reached(self, response: Response, usual: int) -> None:
        """Note how far the registry is by its header Range (`0-N`, N the last byte's number); `usual` where it says nothing."""
        first, dash, last = response.headers.get("range", "").removeprefix("bytes=").partition("-")
        known = first == "0" and dash and last.isascii() and last.isdigit() and len(last) < 19
        self._offset = int(last) + 1 if known and last != "0" else usual  # `0-0` is what registries say of an empty upload
        if self._offset > self._sent:
            raise Untrue(f"{self._reference.bare()}: {self._endpoint.host.name} has more bytes than were sent: {self._offset} of {self._sent}")
        if self._offset > self._farthest:
            self._farthest, self._failures = self._offset, 0

    def _moved(self, response: Response) -> None:
        location = response.headers.get("location", "")
        if location:
            self._move(response.url, location)
        elif not self._location:
            raise Untrue(f"{self._reference.bare()}: {self._endpoint.host.name} began an upload without saying where (no Location)")

    def _move(self, base: str, location: str) -> None:
        try:
            self._location = redirect.resolve(base, location, insecure=partial(self._exchange.insecure, self._endpoint))
        except redirect.BadLocation as error:
            raise Untrue(f"{self._reference.bare()}: {self._endpoint.host.name} names a place for an upload that is none: {error}") from None
