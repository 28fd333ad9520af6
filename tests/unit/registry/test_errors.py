"""What a registry's no becomes. The words are those that Docker 28 prints for the same answers (tried on it)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.errors import Internal, Invalid, PierError
from pier.oci.reference import parse
from pier.registry import errors
from pier.registry.challenge import Challenge
from pier.registry.errors import Answered, Denied, Missing, NotKnown, Overloaded, Refused, TooMany, Unreachable, answered, clean, for_engine, for_pull

URL = "https://reg.example.com/v2/x/y/manifests/t"
NAME = parse("reg.example.com/x/y:t")


def no(status: int, body: object = b"", content_type: str = "application/json", *challenges: Challenge) -> Answered:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return answered("GET", URL, status, content_type, data, challenges)


def coded(code: str, message: str) -> object:
    return {"errors": [{"code": code, "message": message, "detail": {"x": 1}}]}


def bearer(**parameters: str) -> Challenge:
    return Challenge("bearer", parameters)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (no(404, coded("MANIFEST_UNKNOWN", "manifest unknown")), Missing, "manifest unknown: manifest unknown"),
        (no(404, coded("NAME_UNKNOWN", "repository name not known to registry")), Missing, "name unknown: repository name not known to registry"),
        (no(403, coded("DENIED", "requested access to the resource is denied")), Denied, "denied: requested access to the resource is denied"),
        (no(401, coded("UNAUTHORIZED", "authentication required")), NotKnown, "unauthorized: authentication required"),
        (no(429, coded("TOOMANYREQUESTS", "slow")), TooMany, "toomanyrequests: slow"),
        (no(429, b"slow down", "text/plain"), TooMany, "toomanyrequests: slow down"),
        (no(403, b"go away", "text/plain"), Denied, "denied: go away"),
        (no(401, b"go away", "text/plain"), NotKnown, "unauthorized: go away"),
        (no(401, {"details": "incorrect username or password"}), NotKnown, "unauthorized: incorrect username or password"),
        (no(400, coded("NAME_INVALID", "invalid repository name")), Refused, "name invalid: invalid repository name"),
        (no(405, coded("UNSUPPORTED", "The operation is unsupported.")), Refused, "unsupported: The operation is unsupported."),
        (no(418, b"tea", "text/plain"), Refused, f'Get "{URL}": unknown: tea'),
        (no(500), Overloaded, f'Get "{URL}": received unexpected HTTP status: 500 Internal Server Error'),
        (no(503, coded("UNAVAILABLE", "busy")), Overloaded, f'Get "{URL}": received unexpected HTTP status: 503 Service Unavailable: busy'),
        (no(404, b"<html>no</html>", "text/html"), Missing, f'Get "{URL}": received unexpected HTTP status: 404 Not Found'),
        (no(401), NotKnown, "unauthorized: authentication required"),
        (no(403), Denied, "denied: requested access to the resource is denied"),
        (no(401, coded("UNAUTHORIZED", "x"), "", bearer(error="insufficient_scope")), Denied, "denied: requested access to the resource is denied"),
        (no(401, coded("UNAUTHORIZED", "x"), "", bearer(error="invalid_token")), NotKnown, "unauthorized: authentication required"),
        (no(401, coded("UNAUTHORIZED", "x"), "", bearer(error="invalid_token", error_description="old")), NotKnown, "unauthorized: old"),
        (no(401, coded("UNAUTHORIZED", "x"), "", bearer(error="other")), NotKnown, "unauthorized: x"),
    ],
)
def test_kinds_and_words(error: Answered, kind: type[Answered], words: str) -> None:
    assert (type(error), str(error)) == (kind, words)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (
            no(404, coded("MANIFEST_UNKNOWN", "manifest unknown")),
            404,
            "manifest for reg.example.com/x/y:t not found: manifest unknown: manifest unknown",
        ),
        (no(404, coded("NAME_UNKNOWN", "not here")), 404, "repository reg.example.com/x/y not found: name unknown: not here"),
        (
            no(403, b"go away", "text/plain"),
            404,
            "pull access denied for reg.example.com/x/y, repository does not exist or may require 'docker login': denied: go away",
        ),
        (no(401, coded("UNAUTHORIZED", "authentication required")), 401, "unauthorized: authentication required"),
        (no(429, coded("TOOMANYREQUESTS", "slow")), 429, "toomanyrequests: slow"),
        (no(500), 500, f'Get "{URL}": received unexpected HTTP status: 500 Internal Server Error'),
        (no(418, b"tea", "text/plain"), 500, f'Get "{URL}": unknown: tea'),
        (errors.without_credentials("GET", URL), 500, f'Get "{URL}": no basic auth credentials'),
        (Unreachable("GET", URL, "EOF"), 500, f'Get "{URL}": EOF'),
        (errors.Untrue("other bytes"), 500, "other bytes"),
        (Invalid("bad manifest"), 400, "bad manifest"),
    ],
)
def test_what_a_pull_says(error: PierError, status: int, words: str) -> None:
    said = for_pull(error, NAME)
    assert (said.status, str(said)) == (status, words)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (
            no(403, coded("DENIED", "requested access to the resource is denied")).about("reg/x: blob sha256:1"),
            403,
            "denied: requested access to the resource is denied",
        ),
        (no(401, coded("UNAUTHORIZED", "authentication required")), 401, "unauthorized: authentication required"),
        (errors.without_credentials("POST", URL), 500, "no basic auth credentials"),
        (no(429, coded("TOOMANYREQUESTS", "slow")).about("x"), 429, "toomanyrequests: slow"),
        (no(405, coded("UNSUPPORTED", "The operation is unsupported.")), 500, "unsupported: The operation is unsupported."),
        (no(500), 500, f'Get "{URL}": received unexpected HTTP status: 500 Internal Server Error'),
    ],
)
def test_what_a_push_says(error: PierError, status: int, words: str) -> None:
    said = errors.for_push(error, NAME)
    assert (said.status, str(said)) == (status, words)


def test_hub_is_named_as_users_know_it() -> None:
    said = for_pull(no(403), parse("nope"))
    assert str(said).startswith("pull access denied for nope, repository does not exist or may require 'docker login': denied:")


@pytest.mark.parametrize(("status", "seen"), [(401, 401), (403, 403), (404, 404), (429, 429), (500, 500), (503, 500), (400, 500)])
def test_other_requests_have_the_statuses_of_dockers_engine(status: int, seen: int) -> None:
    assert for_engine(no(status, coded("SOMETHING", "x"))).status == seen


def test_an_error_can_be_about_something() -> None:
    error = no(404, coded("BLOB_UNKNOWN", "blob unknown to registry")).about("reg/x: blob sha256:1")
    assert isinstance(error, Missing) and str(error) == "reg/x: blob sha256:1: blob unknown: blob unknown to registry"


def test_the_request_of_the_user_is_named_where_another_failed() -> None:
    error = answered("GET", "https://auth/token?account=alice", 401, "", b'{"details":"incorrect username or password"}')
    assert str(error.within("HEAD", URL)) == f'Head "{URL}": unauthorized: incorrect username or password'
    assert no(401).within("GET", URL + "?x=1").args == no(401).args


def test_control_bytes_are_shown_as_escapes() -> None:
    assert clean("a\x1b[31mb\r\n\x00\u202ec\x85é") == "a\\x1b[31mb\\r\\n\\x00\\u202ec\\x85é"
    assert str(no(400, coded("X\x1b", "\x1b[2J"))) == "x\\x1b: \\x1b[2J"
    assert len(clean("x" * 10_000)) < 1100


def test_no_signature_and_no_password_of_a_url_is_shown() -> None:
    error = Unreachable("GET", "https://user:pw@cdn.example.com/blob?X-Amz-Signature=secret#f", "EOF")
    assert str(error) == 'Get "https://cdn.example.com/blob": EOF'


def test_a_way_out_is_said() -> None:
    unknown = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    assert "certs.d/reg.example.com/ca.crt" in str(Unreachable("GET", URL, unknown, False))
    assert "insecure-registries" in str(Unreachable("GET", URL, "http: server gave HTTP response to HTTPS client", False))


@given(st.integers(400, 599), st.binary(max_size=200), st.sampled_from(["", "text/html", "application/json", "text/plain; charset=x"]))
def test_any_answer_is_an_error_that_can_be_printed(status: int, body: bytes, content_type: str) -> None:
    error = answered("GET", URL, status, content_type, body)
    assert str(error).isprintable() and len(str(error)) < 2000 and not isinstance(error, Internal)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=10),
        lambda x: st.lists(x) | st.dictionaries(st.sampled_from(["errors", "code", "message", "details"]), x),
    )
)
def test_any_json_too(body: object) -> None:
    assert str(answered("GET", URL, 400, "application/json", json.dumps(body).encode())).isprintable()
