"""What goes wrong at a registry, as errors of pier.errors that know what was answered, and their words for Docker's clients.

Two families. *Answered*: the registry said no; the kind says how (NotFound, Forbidden, ...), `answer` holds the status and its words. *Unreachable*:
no answer came; `cause` is in the words of Go's net/http, which Docker's users search for. `for_pull` and `for_push` give either the sentence that
Docker prints for the verb. A server's text is bounded and its control bytes are escaped (`clean`) before it is in any of them.
"""

import json
from dataclasses import dataclass

from pier.errors import Forbidden, Internal, Invalid, NotFound, PierError, Unauthorized, Unavailable
from pier.oci.reference import Reference
from pier.registry.challenge import Challenge

MAX_TEXT_CHARS = 1000
MAX_BODY_BYTES = 64 * 1024
REASONS = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict",
           412: "Precondition Failed", 413: "Request Entity Too Large", 416: "Requested Range Not Satisfiable", 429: "Too Many Requests",
           500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}  # fmt: skip
DENIED = "requested access to the resource is denied"
NO_CREDENTIALS = "no basic auth credentials"  # Docker's words
USUAL = {401: ("UNAUTHORIZED", "authentication required"), 403: ("DENIED", DENIED), 429: ("TOOMANYREQUESTS", "too many requests")}
WAYS_OUT = {
    "certificate signed by unknown authority": "put its authority's certificate into /etc/docker/certs.d/{host}/ca.crt",
    "server gave HTTP response to HTTPS client": 'name {host} in "insecure-registries" of daemon.json if it has no TLS',
}


def clean(text: str) -> str:
    """Text of a server's, fit for a terminal and a log: control characters as escapes, and no more than MAX_TEXT_CHARS."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text[:MAX_TEXT_CHARS])
    return shown + ("..." if len(text) > MAX_TEXT_CHARS else "")


@dataclass(frozen=True)
class Answer:
    """A registry's no. `code` as the specification spells it (MANIFEST_UNKNOWN; "" where it gave none), `words` cleaned: `manifest unknown: ...`."""

    method: str
    url: str
    status: int
    code: str
    words: str
    retry_after_s: float | None = None


class Answered(PierError):
    """Base of the errors that a registry's answer became; each is a kind of pier.errors as well. Its text: `answer.words`, maybe of an object."""

    def __init__(self, answer: Answer, text: str = "") -> None:
        self.answer = answer
        super().__init__(text or answer.words)

    def about(self, what: str) -> "Answered":
        """The same, naming what it is about."""
        return type(self)(self.answer, f"{what}: {self}")

    def within(self, method: str, url: str) -> "Answered":
        """The same as the failure of another request, in the form of Go's url.Error."""
        return self if (self.answer.method, self.answer.url) == (method, shown_url(url)) else self.about(_request(method, url))


class Missing(Answered, NotFound):
    """404: there is no such repository, manifest, blob or upload."""


class NotKnown(Answered, Unauthorized):
    """401, after all credentials were tried."""


class Denied(Answered, Forbidden):
    """403, or a token without the right that was asked for."""


class Refused(Answered, Invalid):
    """Any other status below 500: the registry does not take the request."""


class Overloaded(Answered, Unavailable):
    """5xx, after the retries."""


class TooMany(Overloaded):
    """429, after the retries."""

    status = 429


class Unreachable(Unavailable):
    """No answer, or not a whole one.

    passing: it may be another time; False: a certificate that does not fit, a name that is none. stale: a connection was used that had served
    before, which the server may just have closed.
    """

    def __init__(self, method: str, url: str, cause: str, passing: bool = True, *, stale: bool = False) -> None:
        self.cause, self.passing, self.stale = clean(cause), passing, stale
        host = shown_url(url).partition("://")[2].partition("/")[0]
        way_out = next((f" ({hint.format(host=host)})" for words, hint in WAYS_OUT.items() if words in cause), "")
        super().__init__(f"{_request(method, url)}: {self.cause}{way_out}")

    @property
    def absent(self) -> bool:
        """Whether there is nobody: the name leads nowhere now, or nobody listens."""
        return self.cause.endswith("connection refused") or "dial tcp: lookup " in self.cause


class Untrue(Unavailable):
    """The registry sent something else than was asked for: other bytes than the digest, a length that lies, a document that is none."""


def shown_url(url: str) -> str:
    """A URL for an error: no user, no password, no query (signatures and tokens stand there), no control bytes."""
    before, separator, rest = url.partition("://")
    place = rest.partition("?")[0].partition("#")[0]
    authority, slash, path = place.partition("/")
    return clean(f"{before}{separator}{authority.rpartition('@')[2]}{slash}{path}")


def answered(
    method: str, url: str, status: int, content_type: str, body: bytes, challenges: tuple[Challenge, ...] = (), retry_after_s: float | None = None
) -> Answered:  # fmt: skip
    """The error that an answer other than a success is. body: its first MAX_BODY_BYTES."""
    code, words = _of_challenge(challenges) if 400 <= status < 500 else ("", "")
    if not words:
        code, words = _of_body(status, content_type, body)
    answer = Answer(method, shown_url(url), status, code, words, retry_after_s)
    text = "" if code else f"{_request(method, url)}: {words}"
    return _kind(status, code)(answer, text)


def without_credentials(method: str, url: str) -> Answered:
    """A registry wants a name and a password of who has none."""
    return NotKnown(Answer(method, shown_url(url), 401, "", NO_CREDENTIALS), f"{_request(method, url)}: {NO_CREDENTIALS}")


def _kind(status: int, code: str) -> type[Answered]:
    if status == 429 or code == "TOOMANYREQUESTS":
        return TooMany
    if status >= 500:
        return Overloaded
    if status == 404 or code in ("NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "BLOB_UPLOAD_UNKNOWN"):
        return Missing
    if status == 403 or code == "DENIED":
        return Denied
    return NotKnown if status == 401 or code == "UNAUTHORIZED" else Refused


def _request(method: str, url: str) -> str:
    return f'{method.capitalize()} "{shown_url(url)}"'


def _of_challenge(challenges: tuple[Challenge, ...]) -> tuple[str, str]:
    """What RFC 6750, section 3, says inside the challenge: goes before the body."""
    for one in challenges:
        if one.scheme == "bearer" and one.get("error") in ("invalid_token", "insufficient_scope"):
            code, usual = ("UNAUTHORIZED", "authentication required") if one.get("error") == "invalid_token" else ("DENIED", DENIED)
            return code, f"{code.lower()}: {clean(one.get('error_description')) or usual}"
    return "", ""


def _of_body(status: int, content_type: str, body: bytes) -> tuple[str, str]:
    """The first error of the JSON that the specification wants; else what can be said of the status and the text."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    errors = found.get("errors") if isinstance(found, dict) else None
    first = next((e for e in errors if isinstance(e, dict)), {}) if isinstance(errors, list) else {}
    details = found.get("details") if isinstance(found, dict) else None
    text = details if isinstance(details, str) else "" if found is not None or "html" in content_type else body.decode("utf-8", "replace").strip()
    if status >= 500:
        said = first.get("message") or text
        return "", f"received unexpected HTTP status: {status} {REASONS.get(status, '')}".rstrip() + (f": {clean(str(said))}" if said else "")
    if first:
        code = str(first.get("code") or "UNKNOWN").upper()[:64]
        words = clean(code.lower().replace("_", " "))
        return code, f"{words}: {clean(str(first.get('message') or words))}"
    if status in USUAL:
        code, words = USUAL[status]
        return code, f"{code.lower()}: {clean(text) or words}"
    return "", f"unknown: {clean(text)}" if text else f"received unexpected HTTP status: {status} {REASONS.get(status, '')}".rstrip()


def for_pull(error: PierError, reference: Reference) -> PierError:
    """The error as Docker's engine has it for a pull: its sentence, and 404 for what is not there or not shown."""
    if isinstance(error, Answered):
        answer = error.answer
        match answer.code:
            case "DENIED":
                cause = f"pull access denied for {reference.familiar_name}, repository does not exist or may require 'docker login'"
                return Missing(answer, f"{cause}: {answer.words}")
            case "MANIFEST_UNKNOWN":
                return Missing(answer, f"manifest for {reference} not found: {answer.words}")
            case "NAME_UNKNOWN":
                return Missing(answer, f"repository {reference.familiar_name} not found: {answer.words}")
    return for_engine(error)


def for_push(error: PierError, _reference: Reference) -> PierError:
    """The error as Docker's engine has it for a push: of who may not push, nothing but the registry's words."""
    if isinstance(error, NotKnown | Denied | TooMany):
        error = type(error)(error.answer)
    return for_engine(error)


def for_engine(error: PierError) -> PierError:
    """The error with the HTTP status that Docker's engine gives it: 500 for whatever is neither 401, 403, 404 nor 429 of a registry that says so."""
    kept = isinstance(error, Answered) and (error.answer.code or isinstance(error, Missing)) and not isinstance(error, Refused)
    if kept or not isinstance(error, Answered | Unreachable | Untrue):
        return error
    return Internal(str(error))
