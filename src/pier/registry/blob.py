"""The bytes of a blob as they come, over any number of broken connections."""

import re
from collections.abc import Sequence

from pier.registry.endpoints import Endpoint, Endpoints
from pier.registry.errors import Missing, Refused, Unreachable, Untrue, clean
from pier.registry.exchange import Ask, Exchange
from pier.registry.transport import READ_BYTES, Response

PROGRESS_BYTES = 64 * 1024  # what has to come over a connection for its breaking not to count as one more failure
MIRROR_BREAKS = 2
STATUSES = frozenset({200, 206})
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


def content_range(value: str) -> tuple[int, int, int | None] | None:
    """(first, last, size of the whole or None) of a Content-Range; None for what is none (RFC 9110, section 14.4)."""
    found = _RANGE.fullmatch(value.strip())
    if not found or int(found[1]) > int(found[2]):
        return None
    return int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3])


class Places:
    """Where one blob is to be had: mirrors, the registry, then the URLs of a foreign layer, which get nothing of ours."""

    def __init__(
        self, endpoints: Endpoints, exchange: Exchange, path: str, wanted: tuple[str, ...], stop: int | None, urls: Sequence[str], mirrors: bool
    ) -> None:  # fmt: skip
        self.exchange = exchange
        self._endpoints = endpoints
        self._path = path
        self._scopes = wanted
        self._stop = stop
        self._urls = urls
        self._mirrors = mirrors
        self._breaks = 0

    def open(self, at: int) -> Response:
        """An answer with the bytes from `at` on (206), or with all of them (200)."""
        headers = {"Range": f"bytes={at}-{'' if self._stop is None else self._stop - 1}"} if at or self._stop is not None else {}

        def ask(endpoint: Endpoint, path: str = self._path, anonymous: bool = False) -> Response:
            return self.exchange.ask(endpoint, Ask("GET", path, self._scopes, headers, ok=STATUSES, anonymous=anonymous))

        try:
            return self._endpoints.each("pull", ask, mirrors=self._mirrors)
        except Missing:
            registry = self._endpoints.of("pull")[-1]
            for url in self._urls:
                if url.startswith("https://") or (url.startswith("http://") and self.exchange.insecure(registry, url)):
                    return ask(registry, url, True)
            raise

    def broke(self) -> None:
        """A connection broke: a mirror that does this again is not asked any more."""
        self._breaks += 1
        self._mirrors = self._mirrors and self._breaks < MIRROR_BREAKS


class Blob:
    """A blob that is being read; a context. Nothing is verified here but lengths.

    start: where the bytes begin: what was asked for, or 0 where the server gives the whole blob only (then `stop` is not kept either).
    ranged: whether the server gives ranges (where one was asked for). total: the size of the whole, None where it is not known. A connection
    that breaks is made again from where it broke.
    """

    def __init__(self, what: str, places: Places, start: int, stop: int | None) -> None:
        """what: for errors. places: made for the same `stop`."""
        self._what = what
        self._places = places
        self._failures = 0
        self._response, self._at, self._upto, self.total = self._begin(start)
        self.start = self.position = self._opened = self._at
        self.ranged = self._response.status == 206
        whole = self._upto if self.total is None else self.total
        self._stop = whole if stop is None or not self.ranged else stop if whole is None else min(stop, whole)

    def read(self, size: int = READ_BYTES) -> bytes:
        """Up to `size` bytes; b"" at the end. Raises Unreachable, Untrue (more or fewer bytes than announced), Cancelled."""
        while self._stop is None or self.position < self._stop:
            try:
                data = self._read(size)
            except Unreachable as failure:
                self._again(failure)
                continue
            if not data:
                break
            self._at += len(data)
            fresh = self._at - self.position  # less than all where a server began at 0 again
            if fresh > 0:
                self.position = self._at
                return data[-fresh:] if fresh < len(data) else data
        self.close()
        return b""

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """The same into a buffer; 0 at the end."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Whatever is left is not wanted."""
        self._response.close()

    def __enter__(self) -> "Blob":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, size: int) -> bytes:
        if self._upto is None:
            return self._response.read(size)
        upto = self._upto if self._stop is None else min(self._upto, self._stop)
        data = self._response.read(min(size, upto - self._at)) if self._at < upto else b""
        if not data:
            raise Unreachable("GET", self._response.url, "unexpected EOF")
        return data

    def _begin(self, at: int) -> tuple[Response, int, int | None, int | None]:
        """The answer, where its bytes begin, where they end, the size of the whole."""
        response = self._places.open(at)
        if response.status != 206:
            return response, 0, response.length, response.length
        found = content_range(response.headers.get("content-range", ""))
        if found is None or found[0] != at:
            response.close()
            raise Untrue(f"{self._what}: asked for the bytes from {at} on, the registry sent {clean(response.headers.get('content-range', ''))!r}")
        return response, at, found[1] + 1, found[2]

    def _again(self, failure: Unreachable) -> None:
        self._response.close()
        self._places.broke()
        self._failures = 1 if self.position - self._opened >= PROGRESS_BYTES else self._failures + 1
        self._opened = self.position
        if not self._places.exchange.pause(self._failures, failure):
            raise failure
        try:
            self._response, self._at, self._upto, total = self._begin(self.position)
        except Refused as error:
            if error.answer.status != 416:
                raise
            raise Untrue(f"{self._what}: the registry announced more bytes than the {self.position} that it has") from None
        if self.total is not None and total is not None and total != self.total:
            self._response.close()
            raise Untrue(f"{self._what}: its size was {self.total} bytes, now it is {total}")
