"""What goes wrong at a registry, as errors of pier.errors that know what was answered, and their words for Docker's clients.

Two families. *Answered*: the registry said no; the kind says how (NotFound, Forbidden, ...), `answer` holds the status and its words. *Unreachable*:
no answer came; `cause` is in the words of Go's net/http, which Docker's users search for. `for_pull` and `for_push` give either the sentence that
Docker prints for the verb. A server's text is bounded and its control bytes are escaped (`clean`) before it is in any of them.
"""

import json
from collections.abc import Mapping
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


class Answered(PierError):
    """Base of the errors that a registry's answer became; each is a kind of pier.errors as well."""

    def __init__(self, answer: Answer, text: str = "") -> None:
        self.answer = answer
        super().__init__(text or answer.words)


class Missing(Answered, NotFound):
    """404: there is no such repository, manifest, blob or upload."""


class NotKnown(Answered, Unauthorized):
    """401, after all credentials were tried."""


class Denied(Answered, Forbidden):
    """403, or a token without the right that was asked for."""


class Refused(Answered, Invalid):
    """Any other status below 500: the registry does not take the request."""


class Overloaded(Answered, Unavailable):
    """429 and 5xx, after the retries."""


class Unreachable(Unavailable):
    """No answer, or not a whole one. `passing`: it may be another time; False: a certificate that does not fit, a name that is none."""

    def __init__(self, method: str, url: str, cause: str, passing: bool = True, way_out: str = "") -> None:
        self.method, self.url, self.cause, self.passing = method, url, clean(cause), passing
        super().__init__(f'{method.capitalize()} "{shown_url(url)}": {self.cause}' + (f" ({way_out})" if way_out else ""))


class Untrue(Unavailable):
    """The registry sent something else than was asked for: other bytes than the digest, a length that lies, a document that is none."""


def shown_url(url: str) -> str:
    """A URL for an error: no user, no password, no query (signatures and tokens stand there), no control bytes."""
    before, separator, rest = url.partition("://")
    place = rest.partition("?")[0].partition("#")[0]
    authority, slash, path = place.partition("/")
    return clean(f"{before}{separator}{authority.rpartition('@')[2]}{slash}{path}")


def answered(method: str, url: str, status: int, headers: Mapping[str, str], body: bytes, challenges: tuple[Challenge, ...] = ()) -> Answered:
    """The error that an answer other than a success is. body: its first MAX_BODY_BYTES."""
    code, words = _of_challenge(challenges) if 400 <= status < 500 else ("", "")
    if not words:
        code, words = _of_body(status, headers.get("content-type", ""), body)
    answer = Answer(method, shown_url(url), status, code, words)
    if status == 404 or code in ("NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "BLOB_UPLOAD_UNKNOWN"):
        return Missing(answer)
    if status == 403 or code == "DENIED":
        return Denied(answer)
    if status == 401 or code == "UNAUTHORIZED":
        return NotKnown(answer)
    if status == 429 or status >= 500:
        return Overloaded(answer)
    return Refused(answer)


def _of_challenge(challenges: tuple[Challenge, ...]) -> tuple[str, str]:
    """What RFC 6750, section 3, says inside the challenge: goes before the body."""
    for one in challenges:
        if one.scheme == "bearer" and one.get("error") in ("invalid_token", "insufficient_scope"):
            code, usual = ("UNAUTHORIZED", "authentication required") if one.get("error") == "invalid_token" else ("DENIED", DENIED)
            return code, f"{code.lower()}: {clean(one.get('error_description')) or usual}"
    return "", ""


def _of_body(status: int, content_type: str, body: bytes) -> tuple[str, str]:
    usual = {401: ("UNAUTHORIZED", "authentication required"), 403: ("DENIED", DENIED), 429: ("TOOMANYREQUESTS", "too many requests")}
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    errors = found.get("errors") if isinstance(found, dict) else None
    first = next((e for e in errors if isinstance(e, dict)), None) if isinstance(errors, list) else None
    if first is not None:
        code = str(first.get("code") or "UNKNOWN").upper()[:64]
        message = str(first.get("message") or code.lower().replace("_", " "))
        return code, clean(f"{code.lower().replace('_', ' ')}: {message}")
    details = found.get("details") if isinstance(found, dict) else None
    text = details if isinstance(details, str) else "" if "html" in content_type else body.decode("utf-8", "replace").strip()
    if status in usual:
        code, words = usual[status]
        return code, f"{code.lower()}: {clean(text) or words}"
    return "", f"received unexpected HTTP status: {status} {REASONS.get(status, '')}".rstrip() + (f": {clean(text)}" if text else "")


def for_pull(error: PierError, reference: Reference) -> PierError:
    """The error as `docker pull` words it: 404 for what is not there or not shown, else 500 as Docker's engine has it."""
    if not isinstance(error, Answered):
        return error
    words = error.answer.words
    match error.answer.code:
        case "DENIED":
            cause = f"pull access denied for {reference.familiar_name}, repository does not exist or may require 'docker login'"
            return Missing(error.answer, f"{cause}: {words}")
        case "MANIFEST_UNKNOWN":
            return Missing(error.answer, f"manifest for {reference} not found: {words}")
        case "NAME_UNKNOWN":
            return Missing(error.answer, f"repository {reference.familiar_name} not found: {words}")
    return error if isinstance(error, Missing) else Internal(str(error))


def for_push(error: PierError, reference: Reference) -> PierError:
    """The error as `docker push` words it."""
    return error
