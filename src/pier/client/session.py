"""One daemon as seen by a program: requests with a negotiated API version, errors as exceptions. The synchronous face.

client = Client("unix:///run/pier.sock")
for container in client.get("/containers/json"):
    print(container["Id"])
"""

from pier.client import jsontext
from pier.client.connection import ConnectionFailed as ConnectionFailed  # for those who import this face
from pier.client.connection import Response, Unreachable, dial, send
from pier.client.wire import ProtocolError, query, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

API_VERSION = "1.51"
OLDEST_API_VERSION = "1.24"
_TOO_NEW = "is too new. Maximum supported API version is "


class ApiError(Exception):
    """The daemon answered with an error: `status` (HTTP) and the message as it wrote it."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(f"Error response from daemon: {message}")


def version_key(version: str) -> tuple[int, int]:
    """`1.41` as (1, 41), for comparing. Raises ValueError."""
    major, _, minor = version.partition(".")
    return int(major), int(minor)


class Client:
    """Requests to the daemon at `host` (unix:///path, tcp://host:port).

    `version` pins the API version (DOCKER_API_VERSION); otherwise the lower of both sides' versions is spoken: the first
    request is sent in ours, and in theirs where that is refused as too new, which daemons do before they look at it.
    `on_refused` is called once where nothing answers: it returns True when it started a daemon, and the connection is tried again.
    """

    def __init__(self, host: str, version: str = "", headers: "dict[str, str] | None" = None, on_refused: "Callable[[], bool] | None" = None) -> None:
        self.host = host
        self.version = version
        self.headers: list[tuple[str, str]] = list((headers or {}).items())
        self.pinned = bool(version)
        self._negotiated = bool(version)
        self._idle: _socket.socket | None = None
        self._on_refused = on_refused
        self.meanwhile: Callable[[], None] | None = None  # called once, after the next request was sent and before its answer is read

    # Connections

    def _connect(self) -> "_socket.socket":
        try:
            return dial(self.host)
        except Unreachable as error:
            if self._on_refused is not None:
                hook, self._on_refused = self._on_refused, None
                if hook():
                    return self._connect()
            raise ConnectionFailed(self._unreachable(error)) from None

    def _unreachable(self, error: Unreachable) -> str:
        if error.errno == 13:
            path = self.host.partition("://")[2]
            return f"permission denied while trying to connect to the Pier daemon socket at {self.host}: dial unix {path}: connect: permission denied"
        return f"Cannot connect to the Pier daemon at {self.host}. Is the pier daemon running?"

    def negotiate(self) -> None:
        """Agree on an API version with the daemon by a ping, once. Raises ConnectionFailed."""
        if self._negotiated:
            return
        response = self._exchange("HEAD", "/_ping", None, (), None)
        response.read()
        self._keep(response)
        self._agree(response.headers.get("api-version", OLDEST_API_VERSION))

    def _agree(self, theirs: str) -> None:
        try:
            self.version = theirs if version_key(theirs) < version_key(API_VERSION) else API_VERSION
        except ValueError:
            raise ConnectionFailed(f"{self.host} speaks an unknown version of the API: {theirs[:40]!r}") from None
        self._negotiated = True

    def _send(self, method: str, target: str, body: "bytes | Iterable[bytes] | None", headers: "Iterable[tuple[str, str]]") -> Response:
        if not self._negotiated and not (body is None or isinstance(body, bytes)):
            self.negotiate()  # what can be sent only once is not sent to be refused
        meanwhile, self.meanwhile = self.meanwhile, None
        response = self._exchange(method, f"/v{self.version or API_VERSION}{target}", body, headers, meanwhile)
        if not self._negotiated:
            if response.status == 400 and (theirs := self._refused_as_too_new(response)):
                self._agree(theirs)
                return self._exchange(method, f"/v{self.version}{target}", body, headers, None)
            self._agree(response.headers.get("api-version", API_VERSION))
        return response

    def _refused_as_too_new(self, response: Response) -> str:
        """The version that a daemon speaks at most, where its answer is that; "" for any other refusal, which stays to be read."""
        message = response.peek().decode("utf-8", "replace")
        _, found, rest = message.partition(_TOO_NEW)
        if not found:
            return ""
        self._keep(response)
        return rest.partition('"')[0].strip()

    def _exchange(
        self,
        method: str,
        target: str,
        body: "bytes | Iterable[bytes] | None",
        headers: "Iterable[tuple[str, str]]",
        meanwhile: "Callable[[], None] | None",
    ) -> Response:
        everything = [("User-Agent", "Pier-Client/0.1 (linux)"), *self.headers, *headers]
        sock, self._idle = self._idle, None
        if sock is not None and (body is None or isinstance(body, bytes)):
            try:
                return send(sock, method, target, "api.pier.localhost", everything, body, meanwhile)
            except BrokenPipeError:
                sock.close()  # the daemon has closed the idle connection, and read nothing of it
            except (OSError, ProtocolError) as error:
                sock.close()
                if method not in ("GET", "HEAD"):  # it may have been heard
                    raise self._broken(method, target, error) from None
        sock = self._connect()
        try:
            return send(sock, method, target, "api.pier.localhost", everything, body, meanwhile)
        except (OSError, ProtocolError) as error:
            sock.close()
            raise self._broken(method, target, error) from None

    def _broken(self, method: str, target: str, error: Exception) -> ConnectionFailed:
        reason = getattr(error, "strerror", None) or str(error)
        return ConnectionFailed(f"error during connect: {method} {self.host}{target}: {reason}")

    def _keep(self, response: Response) -> None:
        if response.reusable and self._idle is None:
            self._idle = response.sock
        else:
            response.close()

    # Requests

    def open(
        self,
        method: str,
        path: str,
        params: "Iterable[tuple[str, str]]" = (),
        body: "Any" = None,
        *,
        raw: "bytes | Iterable[bytes] | None" = None,
        headers: "Iterable[tuple[str, str]]" = (),
    ) -> Response:
        """Send a request; the response with its body unread, which the caller reads or closes.

        `body` is sent as JSON, `raw` as it is (an iterable in chunks). Raises ApiError for a status of 400 or more.
        """
        if body is not None:
            raw = jsontext.encode(body).encode()
            headers = [*headers, ("Content-Type", "application/json")]
        elif method == "POST" and raw is None:
            raw = b""
        response = self._send(method, path + query(params), raw, headers)
        if response.status >= 400:
            raise self._error(response)
        return response

    def _error(self, response: Response) -> ApiError:
        try:
            text = response.read()
        finally:
            self._keep(response)
        try:
            message = jsontext.decode(text)["message"] if text else ""
        except (ValueError, KeyError, TypeError):
            message = text.decode("utf-8", "replace").strip()
        if not message:
            message = f"request returned {response.status} for API route and version {self.host}/v{self.version}"
        return ApiError(response.status, message.strip())

    def raw(
        self,
        method: str,
        path: str,
        params: "Iterable[tuple[str, str]]" = (),
        body: "Any" = None,
        headers: "Iterable[tuple[str, str]]" = (),
    ) -> bytes:
        """The body of the answer, whole."""
        response = self.open(method, path, params, body, headers=headers)
        data = response.read()
        self._keep(response)
        return data

    def get(self, path: str, params: "Iterable[tuple[str, str]]" = (), headers: "Iterable[tuple[str, str]]" = ()) -> "Any":
        """GET a JSON document."""
        return _document("GET", path, self.raw("GET", path, params, headers=headers))

    def post(self, path: str, params: "Iterable[tuple[str, str]]" = (), body: "Any" = None) -> "Any":
        """POST, and the JSON of the answer, None where it has none."""
        data = self.raw("POST", path, params, body)
        return _document("POST", path, data) if data.strip() else None

    def delete(self, path: str, params: "Iterable[tuple[str, str]]" = ()) -> "Any":
        """DELETE, and the JSON of the answer, None where it has none."""
        data = self.raw("DELETE", path, params)
        return _document("DELETE", path, data) if data.strip() else None

    def documents(self, method: str, path: str, params: "Iterable[tuple[str, str]]" = (), **how: "Any") -> "Iterator[Any]":
        """The JSON documents of a stream (events, load, pull), each as soon as it is complete."""
        response = self.open(method, path, params, **how)
        return stream_documents(response.chunks())

    def hijack(self, path: str, params: "Iterable[tuple[str, str]]" = (), body: "Any" = None) -> "tuple[Response, bytes]":
        """POST that turns into a raw stream: the response (its `sock` is the stream now) and the bytes that came with its head."""
        headers = [("Connection", "Upgrade"), ("Upgrade", "tcp")]
        response = self.open("POST", path, params, body, headers=headers)
        return response, response.hijacked()

    def close(self) -> None:
        """Close the idle connection."""
        if self._idle is not None:
            self._idle.close()
            self._idle = None


def _document(method: str, path: str, data: bytes) -> "Any":
    try:
        return jsontext.decode(data)
    except ValueError as error:
        raise ConnectionFailed(f"the daemon's answer to {method} {path} is not JSON: {error}") from None


def stream_documents(chunks: "Iterable[bytes]") -> "Iterator[Any]":
    """Each JSON document of a stream whose pieces break anywhere. Raises ConnectionFailed for what is no JSON."""
    from codecs import getincrementaldecoder

    decoder = getincrementaldecoder("utf-8")("replace")
    rest = ""
    for chunk in chunks:
        rest += decoder.decode(chunk)
        position = 0
        while position < len(rest):
            try:
                value, position = jsontext.decode_next(rest, position)
            except ValueError:
                # Either cut off or wrong: the daemon ends every document with a line break, so a whole line decides.
                if "\n" in rest[position:].strip("\r\n \t"):
                    raise ConnectionFailed("the daemon's stream has a line that is not JSON") from None
                break
            yield value
        rest = rest[position:]
    if rest.strip():
        try:
            yield jsontext.decode(rest)
        except ValueError:
            raise ConnectionFailed("the daemon's stream ends within a line") from None


def segment(name: str) -> str:
    """A name as one path segment; image references keep their slashes and colons."""
    return quote(name, "/:@")
