"""Why there was no answer, in the words of Go's net/http, from the exceptions of urllib3, ssl and the kernel. Pure."""

import http.client
import os
import re
import ssl
from collections.abc import Iterator

from urllib3.exceptions import NewConnectionError, ProxyError

from pier.registry.dial import DialFailed

Cause = tuple[str, bool]  # the words, and whether another time it may go well


def cause_of(error: BaseException) -> Cause:
    """The words for whatever a request died of: the innermost exception that says something."""
    chain = list(_chain(error))
    proxied = any(isinstance(e, ProxyError) for e in chain)
    for one in reversed(chain):
        found = _known(one)
        if found:
            words, passing = found
            return (f"proxyconnect tcp: {words}" if proxied and not words.startswith("Proxy") else words), passing
    return str(chain[-1]) or type(chain[-1]).__name__, True


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = [a for a in error.args if isinstance(a, BaseException)] if error.args else []
        error = error.__cause__ or (inner[0] if inner else None) or (None if error.__suppress_context__ else error.__context__)


def _known(error: BaseException) -> Cause | None:
    match error:
        case DialFailed():
            return str(error), error.passing
        case ssl.SSLCertVerificationError():
            return f"tls: failed to verify certificate: x509: {_certificate(error)}", False
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return "EOF", True
        case ssl.SSLError():
            return _tls(error), False
        case TimeoutError():
            return "no answer within the time allowed (i/o timeout)", True
        case http.client.RemoteDisconnected():
            return "EOF", True
        case ConnectionResetError():
            return "read: connection reset by peer", True
        case http.client.IncompleteRead():
            return "unexpected EOF", True
        case http.client.BadStatusLine():
            return f"malformed HTTP response {str(error)[:100]!r}", True
        case http.client.HTTPException():
            return f"malformed HTTP response: {error}", False
        case OSError() if error.errno:
            return os.strerror(error.errno).lower(), True
        case OSError():
            tunnel = re.fullmatch(r"Tunnel connection failed: \d+ (.*)", str(error))
            return (f"Proxy: {tunnel[1]}", False) if tunnel else None
        case NewConnectionError():
            return str(error), True
    return None


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    match error.verify_code:
        case 18 | 19 | 20 | 21:
            return "certificate signed by unknown authority"
        case 9 | 10:
            return "certificate has expired or is not yet valid"
        case 62 | 64:
            return error.verify_message.rstrip(".").partition("mismatch, ")[2] or error.verify_message
    return error.verify_message


def _tls(error: ssl.SSLError) -> str:
    reason = re.sub(r"(TLS|SSL)V[0-9]+_ALERT_", "", error.reason or str(error))
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "UNEXPECTED_MESSAGE"):
        return "http: server gave HTTP response to HTTPS client"
    return f"remote error: tls: {reason.lower().replace('_', ' ')}"
