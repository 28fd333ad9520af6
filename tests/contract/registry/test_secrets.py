"""Credentials go to the registry they are for, and to the token server that it names; to nobody else, in nobody's error."""

import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pier.errors import PierError
from pier.oci import digest as digests
from pier.oci.reference import parse
from pier.registry.cancel import Cancelled
from pier.registry.config import RegistryOptions
from pier.registry.credentials import Credentials
from pier.registry.errors import Answered, Missing, NotKnown, Untrue
from pier.registry.upload import FIRST_CHUNK
from tests.harness.registry import Answer, Authority, Basic, BlobHost, FakeRegistry, Options, Server, TokenServer, small

from .clients import Bytes, registries, repository, whole

APP = small("app")
ALICE = Credentials("alice", "Secr3tPassword")
WORDS = ("Secr3tPassword", "Bearer ", "Basic ", "authorization", "x-mine")


def clean_of(server: Server) -> bool:
    """Whether nothing of ours was ever sent there; and something was asked, so that the test tests."""
    assert server.asked(), "nobody asked"
    issued = [*WORDS, ALICE.basic]
    return not any(word.lower() in text.lower() for text in server.texts() for word in issued)


@pytest.fixture
def elsewhere() -> Iterator[BlobHost]:
    """Another server, with the same blobs."""
    with BlobHost({digests.of(blob): blob for blob in APP.blobs}) as made:
        yield made


@pytest.fixture(params=["basic", "token"])
def registry(request: pytest.FixtureRequest, elsewhere: BlobHost) -> Iterator[FakeRegistry]:
    if request.param == "basic":
        with FakeRegistry(auth=Basic({"alice": "Secr3tPassword"})) as made:
            made.add("app", APP, "1")
            yield made
        return
    with TokenServer({"alice": "Secr3tPassword"}) as tokens, FakeRegistry(auth=tokens) as made:
        made.add("app", APP, "1")
        yield made


def client(registry: FakeRegistry, **options: object):  # type: ignore[no-untyped-def]  # Repository
    rows = {registry.name: RegistryOptions(headers=(("X-Mine", "for the registry"),))}
    return registries(registries=rows).repository(parse(f"{registry.name}/app"), ALICE, **options)


def test_a_redirect_of_a_blob(registry: FakeRegistry, elsewhere: BlobHost) -> None:
    registry.options = Options(blob_host=f"{elsewhere.url}/")
    assert whole(client(registry), APP.layers[0]) == APP.blobs[1]
    assert clean_of(elsewhere) and any("authorization" in request.headers for request in registry.asked("GET .*blobs"))
    assert all(request.headers["x-mine"] == "for the registry" for request in registry.asked())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_of_a_manifest(registry: FakeRegistry, elsewhere: BlobHost, status: int) -> None:
    registry.fault("manifests", redirect=f"{elsewhere.url}/x", status=status, times=None)
    with pytest.raises(Missing):
        client(registry).manifest("1")
    assert clean_of(elsewhere)


@pytest.mark.parametrize("challenge", ['Basic realm="give"', "Bearer realm={}/token,service=x", "Bearer realm={}/v2/token"])
def test_a_redirects_target_that_asks_for_credentials(registry: FakeRegistry, elsewhere: BlobHost, challenge: str) -> None:
    registry.options = Options(blob_host=f"{elsewhere.url}/")
    elsewhere.fault("GET /sha256", status=401, headers={"WWW-Authenticate": challenge.format(elsewhere.url)}, times=None)
    with pytest.raises(NotKnown):
        client(registry).blob(APP.layers[0])
    assert clean_of(elsewhere) and not elsewhere.asked("token")


def test_a_redirects_target_that_leads_back(registry: FakeRegistry, elsewhere: BlobHost) -> None:
    registry.fault("GET .*blobs", redirect=f"{elsewhere.url}/{APP.layers[0]}")
    elsewhere.fault("GET", redirect=f"{registry.url}/v2/app/blobs/{APP.layers[0]}")
    assert whole(client(registry), APP.layers[0]) == APP.blobs[1]
    assert clean_of(elsewhere)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_an_upload_that_goes_on_elsewhere(registry: FakeRegistry, method: str) -> None:
    """Those who do this give an address that needs no credentials."""
    with FakeRegistry() as other:
        headers = {"Location": f"{other.url}/v2/app/blobs/uploads/1", "Range": f"0-{FIRST_CHUNK - 1}" if method == "PATCH" else "0-0"}
        registry.fault(
            f"{method} .*uploads", answer=lambda _: Answer(202, b"", headers), skip=1 if method == "POST" else 0
        )  # the first POST is a 401
        with contextlib.suppress(PierError):
            client(registry, push=True).upload(None, None, Bytes(b"x" * (9 << 20)))
        assert clean_of(other)


def test_a_next_page_elsewhere(registry: FakeRegistry, elsewhere: BlobHost) -> None:
    registry.fault("tags/list", answer=lambda _: Answer(200, b'{"tags":["1"]}', {"Link": f'<{elsewhere.url}/x>; rel="next"'}), skip=1)
    with pytest.raises(Untrue, match="next page on another host"):
        client(registry).tags()
    assert not elsewhere.asked()


def test_other_places_of_a_foreign_layer(registry: FakeRegistry, elsewhere: BlobHost) -> None:
    gone = digests.of(b"foreign")
    elsewhere.blobs = {gone: b"foreign"}
    with client(registry).blob(gone, urls=["ftp://x/", f"{elsewhere.url}/{gone}"]) as blob:
        assert blob.read() == b"foreign"
    assert clean_of(elsewhere)


def test_a_foreign_layers_place_at_the_registry_itself(registry: FakeRegistry) -> None:
    """An image may not have its reader's credentials fetch something that the image names."""
    client(registry).manifest("1")
    registry.forget()
    with pytest.raises(Answered):
        client(registry).blob(digests.of(b"x"), urls=[f"{registry.url}/v2/private/blobs/{APP.layers[0]}"])
    (asked, *_) = registry.asked("private")
    assert "authorization" not in asked.headers and "x-mine" not in asked.headers


def test_a_token_server_that_redirects(elsewhere: BlobHost) -> None:
    with TokenServer({"alice": "Secr3tPassword"}) as tokens, FakeRegistry(auth=tokens) as registry:
        tokens.fault("/token", redirect=f"{elsewhere.url}/token", times=None)
        for who in (ALICE, Credentials(identity_token="Secr3tPassword")):
            with pytest.raises(PierError):
                repository(registry, credentials=who).manifest("1")
        assert tokens.asked() and not elsewhere.asked()


def test_a_token_is_for_the_registry_that_asked_for_it() -> None:
    with TokenServer({"alice": "Secr3tPassword"}) as tokens, FakeRegistry(auth=tokens) as one, FakeRegistry() as other:
        one.add("app", APP, "1")
        registry = registries()
        registry.repository(parse(f"{one.name}/app"), ALICE).manifest("1")
        with pytest.raises(Missing):
            registry.repository(parse(f"{other.name}/app"), ALICE).manifest("1")
        assert clean_of(other)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def test_a_secure_registry_leads_to_nothing_in_the_clear(authority: Authority, elsewhere: BlobHost) -> None:
    with TokenServer({"alice": "Secr3tPassword"}) as tokens, FakeRegistry(tls=authority.server()) as registry:
        registry.add("app", APP, "1")
        rows = {registry.name: RegistryOptions(ca=str(authority.file))}
        made = registries(registries=rows).repository(parse(f"{registry.name}/app"), ALICE)
        assert made.manifest("1").digest == APP.digest
        registry.options = Options(blob_host=f"{elsewhere.url}/")
        with pytest.raises(Untrue, match="from https to plain http"):
            made.blob(APP.layers[0])
        registry.auth = tokens
        with pytest.raises(Untrue, match="is on plain http: refused"):
            made.manifest("1")
        registry.auth = None
        registry.options = Options(upload_host=elsewhere.url)
        with pytest.raises(Untrue, match="from https to plain http"):
            registries(registries=rows).repository(parse(f"{registry.name}/app"), ALICE, push=True).upload(None, None, Bytes(b"x"))
        assert not tokens.asked() and not elsewhere.asked()


def test_a_client_certificate_is_shown_to_the_registry_only(authority: Authority) -> None:
    certificate, key = authority.pair("alice")
    blobs = {digests.of(blob): blob for blob in APP.blobs}
    asks = authority.server(clients=True)
    asks.verify_mode = ssl.CERT_OPTIONAL
    with BlobHost(blobs, tls=asks) as other, FakeRegistry(tls=authority.server(clients=True)) as registry:
        registry.add("app", APP, "1")
        registry.options = Options(blob_host=f"{other.url}/")
        rows = {registry.name: RegistryOptions(ca=str(authority.file), client_cert=str(certificate), client_key=str(key))}
        made = registries(registries=rows).repository(parse(f"{registry.name}/app"))
        assert whole(made, APP.layers[0]) == APP.blobs[1]
        assert all(request.client_certificate for request in registry.asked())
        assert other.asked() and not any(request.client_certificate for request in other.asked())


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 401}, {"status": 403}, {"drop": True}, {"status": 400, "body": b"x"}, {"body": b"{"}, {"status": 429}]
)
@pytest.mark.parametrize("where", ["token", "registry"])
def test_no_error_and_no_notice_tells_them(where: str, fault: dict[str, object], patience: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    told: list[str] = []
    with TokenServer({"alice": "Secr3tPassword"}) as tokens, FakeRegistry(auth=tokens) as registry:
        registry.add("app", APP, "1")
        (tokens if where == "token" else registry).fault("token|manifests", times=None, **fault)
        made = repository(registry, credentials=ALICE, notice=told.append)
        with pytest.raises(PierError) as raised:
            made.manifest("1")
        said = " ".join([str(raised.value), repr(raised.value), *told, *caplog.messages, repr(made.__dict__), repr(made._exchange.__dict__)])
        secrets = ["Secr3tPassword", ALICE.basic, *tokens.issued]
        assert not [secret for secret in secrets if secret in said]
        assert raised.value.__cause__ is None or "Secr3t" not in repr(raised.value.__cause__)


def test_a_signed_address_is_in_no_error(registry: FakeRegistry, elsewhere: BlobHost, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    registry.fault("GET .*blobs", redirect=f"{elsewhere.url}/x?X-Amz-Signature=5ignature", times=None)
    with pytest.raises(Missing) as raised:
        client(registry).blob(APP.layers[0])
    assert "5ignature" not in str(raised.value) + " ".join(caplog.messages) and elsewhere.asked()[0].query["X-Amz-Signature"] == "5ignature"


def test_a_cancelled_call_tells_nothing_either(registry: FakeRegistry) -> None:
    made = client(registry)
    made._exchange.cancel.cancel()
    with pytest.raises(Cancelled) as raised:
        made.manifest("1")
    assert not str(raised.value)


def test_a_configured_authorization_goes_before_ours(registry: FakeRegistry) -> None:
    rows = {registry.name: RegistryOptions(headers=(("Authorization", replace(ALICE).basic),))}
    registry.auth = Basic({"alice": "Secr3tPassword"})
    made = registries(registries=rows).repository(parse(f"{registry.name}/app"), Credentials("bob", "x"))
    assert made.manifest("1").digest == APP.digest
    assert {request.headers["authorization"] for request in registry.asked()} == {ALICE.basic}
