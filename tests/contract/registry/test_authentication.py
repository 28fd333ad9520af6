"""Who we are to a registry: basic, token servers, identity tokens, login; how often somebody is asked."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pier.errors import Internal, PierError
from pier.oci import digest as digests
from pier.oci.reference import parse
from pier.registry.client import Registries
from pier.registry.credentials import Credentials
from pier.registry.errors import Denied, Missing, NotKnown, Untrue
from tests.harness.registry import PASSWORD, USER, Basic, DockerRegistry, FakeRegistry, TokenServer, needs_docker_registry, small

from .clients import Bytes, registries, repository, whole

APP = small("app", layers=2)
ALICE = Credentials(USER, PASSWORD)
BOB = Credentials("bob", "wrong")


class Guarded:
    """A registry with its users, ours or the real one."""

    def __init__(self, stack: ExitStack, kind: str, auth: str) -> None:
        self.tokens = stack.enter_context(TokenServer({USER: PASSWORD})) if auth == "token" else None
        self.registry: FakeRegistry | DockerRegistry
        if kind == "fake":
            self.registry = stack.enter_context(FakeRegistry(auth=self.tokens or Basic({USER: PASSWORD})))
            self.registry.add("app", APP, "1")
        else:
            self.registry = stack.enter_context(DockerRegistry(htpasswd=not self.tokens, tokens=self.tokens))
            self.registry.push("app", APP, "1")

    @property
    def name(self) -> str:
        return self.registry.name


@pytest.fixture(
    params=[
        ("fake", "basic"),
        ("fake", "token"),
        pytest.param(("docker", "basic"), marks=needs_docker_registry),
        pytest.param(("docker", "token"), marks=needs_docker_registry),
    ],
    ids="-".join,
)
def guarded(request: pytest.FixtureRequest) -> Iterator[Guarded]:
    with ExitStack() as stack:
        yield Guarded(stack, *request.param)


def test_who_may_pulls_and_pushes(guarded: Guarded) -> None:
    made = registries().repository(parse(f"{guarded.name}/app"), ALICE, push=True)
    assert made.manifest("1").data == APP.data
    assert [whole(made, layer) for layer in APP.layers] == list(APP.blobs[1:])
    digest = made.upload(None, None, Bytes(b"new"))
    assert made.put_manifest("2", APP.data, APP.media_type) == APP.digest and made.blob_size(digest) == 3
    assert made.mount(APP.layers[0], parse(f"{guarded.name}/app"))


def test_a_mount_asks_for_both_repositories(guarded: Guarded) -> None:
    made = registries().repository(parse(f"{guarded.name}/team/other"), ALICE, push=True)
    assert made.mount(APP.layers[0], parse(f"{guarded.name}/app")) and made.blob_size(APP.layers[0])


def test_nobody_and_who_is_wrong(guarded: Guarded) -> None:
    for who in (None, BOB):
        with pytest.raises((NotKnown, Denied)) as raised:
            registries().repository(parse(f"{guarded.name}/app"), who).manifest("1")
        assert "unauthorized: " in str(raised.value) or "no basic auth credentials" in str(raised.value) or "denied: " in str(raised.value)


def test_login(guarded: Guarded) -> None:
    found = registries().login(guarded.name, ALICE)
    assert (found.status, bool(found.identity_token)) == ("Login Succeeded", guarded.tokens is not None)
    assert found.identity_token not in repr(found) or not found.identity_token
    if found.identity_token:
        made = registries().repository(parse(f"{guarded.name}/app"), Credentials(USER, identity_token=found.identity_token), push=True)
        assert made.manifest("1").data == APP.data and made.upload(None, None, Bytes(b"x")) == digests.of(b"x")
        assert registries().login(guarded.name, Credentials(identity_token=found.identity_token)).status == "Login Succeeded"


@pytest.mark.parametrize("server", ["{}", "http://{}", "https://{}/v2/", "{}/"])
def test_a_login_names_the_server_as_users_do(server: str) -> None:
    with FakeRegistry(auth=Basic({USER: PASSWORD})) as registry:
        assert registries().login(server.format(registry.name), ALICE).status == "Login Succeeded"


def test_a_login_with_a_wrong_password(guarded: Guarded) -> None:
    with pytest.raises(PierError) as raised:
        registries().login(guarded.name, BOB)
    if guarded.tokens:
        assert isinstance(raised.value, NotKnown)
        assert str(raised.value) == f'Get "http://{guarded.name}/v2/": unauthorized: incorrect username or password'
    else:
        assert isinstance(raised.value, Internal)
        assert str(raised.value) == f"login attempt to http://{guarded.name}/v2/ failed with status: 401 Unauthorized"


def test_a_registry_that_asks_for_nothing_takes_every_login() -> None:
    with FakeRegistry() as registry:
        assert registries().login(registry.name, ALICE).status == "Login Succeeded"
        assert not any("authorization" in request.headers for request in registry.asked())


@pytest.mark.parametrize("status", [404, 500, 403, 429])
def test_a_login_to_what_is_no_registry(status: int) -> None:
    with FakeRegistry() as registry:
        registry.fault("/v2/", status=status, times=None)
        with pytest.raises(Internal, match=rf"login attempt to http://{registry.name}/v2/ failed with status: {status} "):
            registries().login(registry.name, ALICE)


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with TokenServer({USER: PASSWORD}) as made:
        yield made


@pytest.fixture
def registry(tokens: TokenServer) -> Iterator[FakeRegistry]:
    with FakeRegistry(auth=tokens) as made:
        made.add("app", APP, "1")
        yield made


def test_one_token_is_enough_for_one_image(registry: FakeRegistry, tokens: TokenServer) -> None:
    client = registries()
    for _ in range(3):
        made = client.repository(parse(f"{registry.name}/app"), ALICE)
        made.manifest("1")
        for layer in APP.layers:
            whole(made, layer)
    assert len(tokens.asked("GET /token")) == 1
    assert sum("authorization" not in request.headers for request in registry.asked()) == 1


def test_a_token_that_expired_is_asked_for_again(registry: FakeRegistry, tokens: TokenServer) -> None:
    made = repository(registry, credentials=ALICE)
    made.manifest("1")
    tokens.expire()
    assert made.manifest("1").digest == APP.digest and len(tokens.asked("GET /token")) == 2


def test_a_push_asks_for_more_than_a_pull(registry: FakeRegistry, tokens: TokenServer) -> None:
    client = registries()
    client.repository(parse(f"{registry.name}/app"), ALICE).manifest("1")
    client.repository(parse(f"{registry.name}/app"), ALICE, push=True).upload(None, None, Bytes(b"x"))
    assert [request.query["scope"] for request in tokens.asked("GET /token")] == ["repository:app:pull", "repository:app:pull,push"]


def test_who_is_let_in_without_a_name(tokens: TokenServer, registry: FakeRegistry) -> None:
    tokens.access = lambda user, name, action: action == "pull"
    assert repository(registry).manifest("1").data == APP.data
    with pytest.raises(Denied, match=r"denied: requested access to the resource is denied"):
        repository(registry, push=True).upload(None, None, Bytes(b"x"))


def test_an_endless_dance_ends(registry: FakeRegistry, tokens: TokenServer) -> None:
    """The registry takes no token, however fresh."""
    tokens.allows = lambda *_: False  # type: ignore[method-assign]
    with pytest.raises((NotKnown, Denied)):
        repository(registry, credentials=ALICE).manifest("1")
    assert len(tokens.asked("GET /token")) == 1 and len(registry.asked()) == 2


def test_a_token_server_that_gives_no_token(registry: FakeRegistry, tokens: TokenServer) -> None:
    tokens.fault("/token", body=b"{}", times=None)
    with pytest.raises(Untrue, match="authorization server did not include a token in the response"):
        repository(registry, credentials=ALICE).manifest("1")


def test_a_token_server_that_is_busy_is_asked_again(registry: FakeRegistry, tokens: TokenServer, patience: list[float]) -> None:
    tokens.fault("/token", status=503, headers={"Retry-After": "3"})
    told: list[str] = []
    assert repository(registry, credentials=ALICE, notice=told.append).manifest("1").digest == APP.digest
    assert patience == [3.0] and told[0].startswith('retrying in 3 s: Get "http://') and "503 Service Unavailable" in told[0]


def test_a_token_of_the_registry_is_sent_as_it_is(registry: FakeRegistry, tokens: TokenServer) -> None:
    given = tokens.sign("somebody", tokens.service, {"app": {"pull"}})
    tokens.issued[given] = (2**60, {"app": {"pull"}})
    assert repository(registry, credentials=Credentials(registry_token=given)).manifest("1").data == APP.data
    assert not tokens.asked()
    with pytest.raises((NotKnown, Denied)):
        repository(registry, credentials=Credentials(registry_token="other")).manifest("1")


def test_clients_share_nothing_but_what_is_the_same_users(registry: FakeRegistry) -> None:
    client: Registries = registries()
    client.repository(parse(f"{registry.name}/app"), ALICE).manifest("1")
    for who in (None, Credentials(USER, "wrong"), BOB):
        with pytest.raises((NotKnown, Denied)):
            client.repository(parse(f"{registry.name}/app"), who).manifest("1")


def test_what_is_not_there_and_what_is_not_shown(registry: FakeRegistry, tokens: TokenServer) -> None:
    tokens.access = lambda user, name, action: name == "app"
    with pytest.raises(Missing):
        repository(registry, credentials=ALICE).manifest("2")
    with pytest.raises(Denied):
        repository(registry, "other", credentials=ALICE).manifest("1")


def test_a_registry_that_does_not_ask_any_more(registry: FakeRegistry, tokens: TokenServer) -> None:
    """What it asked for is remembered; that its token server is gone is no reason to fail."""
    client = registries()
    client.repository(parse(f"{registry.name}/app"), ALICE).manifest("1")
    tokens.close()
    registry.auth = None
    assert client.repository(parse(f"{registry.name}/app"), ALICE, push=True).manifest("1").digest == APP.digest


def test_a_registry_that_moved_its_token_server(registry: FakeRegistry, tokens: TokenServer) -> None:
    client = registries()
    client.repository(parse(f"{registry.name}/app"), ALICE).manifest("1")
    tokens.close()
    with TokenServer({USER: PASSWORD}) as other:
        registry.auth = other
        assert client.repository(parse(f"{registry.name}/app"), ALICE, push=True).manifest("1").digest == APP.digest
        assert len(other.asked("GET /token")) == 1
