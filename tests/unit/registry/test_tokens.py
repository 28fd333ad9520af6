"""What is asked of a token server, what is taken from its answer, what is kept."""

import threading
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.registry import tokens as token_module
from pier.registry.cancel import Cancel, Cancelled
from pier.registry.challenge import Challenge
from pier.registry.credentials import Credentials
from pier.registry.errors import Untrue
from pier.registry.tokens import Desk, NoCredentials, TokenRequest, Tokens, choose, read, request

ALICE = Credentials("alice", "secret")
HERE = ("https", "reg.example.com", 443)
PULL, PUSH = ("repository:app:pull",), ("repository:app:pull,push",)


def bearer(realm: str = "https://auth.example.com/token", **more: str) -> Challenge:
    return Challenge("bearer", {"realm": realm, "service": "reg", **more})


def query(made: TokenRequest) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(made.url).query, keep_blank_values=True)


def test_a_password_goes_into_a_header() -> None:
    made = request(bearer(), ALICE, PUSH, insecure=False)
    assert (made.method, made.form, made.authorization) == ("GET", None, ALICE.basic)
    assert query(made) == [("service", "reg"), ("scope", PUSH[0]), ("account", "alice")]


def test_nobody_asks_without() -> None:
    made = request(bearer(), Credentials(), PULL, insecure=False)
    assert (made.authorization, query(made)) == ("", [("service", "reg"), ("scope", PULL[0])])


def test_an_identity_token_goes_into_a_form() -> None:
    made = request(bearer(), Credentials("alice", "", "id+token"), PULL, insecure=False)
    assert (made.method, made.url, made.authorization) == ("POST", "https://auth.example.com/token", "")
    assert dict(parse_qsl((made.form or b"").decode())) == {
        "grant_type": "refresh_token", "refresh_token": "id+token", "service": "reg", "client_id": "docker", "scope": PULL[0],
    }  # fmt: skip


def test_a_login_asks_for_an_identity_token() -> None:
    assert {("offline_token", "true"), ("client_id", "docker")} <= set(query(request(bearer(), ALICE, (), insecure=False, offline=True)))


def test_several_scopes_and_a_realm_with_a_query() -> None:
    made = request(bearer("https://h/token?tenant=1"), Credentials(), ("repository:a:pull", "repository:b:pull"), insecure=False)
    assert query(made) == [("tenant", "1"), ("service", "reg"), ("scope", "repository:a:pull"), ("scope", "repository:b:pull")]


@pytest.mark.parametrize(
    "realm", ["", "auth", "/token", "http://auth.example.com/token", "file:///x", "https://u:p@auth/token", "https://auth/#x", "https://"]
)
def test_realms_that_get_nothing(realm: str) -> None:
    with pytest.raises(Untrue):
        request(bearer(realm), ALICE, PULL, insecure=False)


def test_a_registry_without_tls_may_have_a_token_server_without() -> None:
    assert request(bearer("http://auth/token"), ALICE, (), insecure=True).url.startswith("http://auth/token?")


def test_nothing_of_a_request_is_in_its_repr() -> None:
    assert "secret" not in repr(request(bearer(), ALICE, PULL, insecure=False)) + repr(
        read(b'{"token":"secret","refresh_token":"secret"}', PULL, 0.0)
    )
    assert ALICE.basic not in repr(request(bearer(), ALICE, PULL, insecure=False))


@pytest.mark.parametrize(
    ("answer", "value", "lasts_s"),
    [
        (b'{"token":"t"}', "t", 60),
        (b'{"access_token":"t"}', "t", 60),
        (b'{"token":"t","access_token":"u","expires_in":300}', "t", 300),
        (b'{"token":"t","expires_in":1}', "t", 60),
        (b'{"token":"t","expires_in":-1}', "t", 60),
        (b'{"token":"t","expires_in":1e300}', "t", 60),
        (b'{"token":"t","expires_in":"300"}', "t", 60),
    ],
)
def test_answers(answer: bytes, value: str, lasts_s: int) -> None:
    found = read(answer, PULL, 1000.0)
    assert (found.value, found.expires_s, found.refresh) == (value, 1000.0 + lasts_s, "")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"token":""}',
        b'{"token":1}',
        b'{"token":"a b"}',
        b'{"token":"a\\r\\nX: y"}',
        b'{"token":"\xc3\xa4"}',
        b"[" * 100_000,
        b"<html>",
        b"\xff",
    ],
)
def test_answers_without_a_token(answer: bytes) -> None:
    with pytest.raises(Untrue, match="authorization server did not include a token in the response"):
        read(answer, PULL, 0.0)


@given(st.binary(max_size=100))
def test_any_answer_is_read_or_refused(answer: bytes) -> None:
    with pytest.raises(Untrue):
        read(answer, PULL, 0.0)


def test_a_token_goes_before_a_password() -> None:
    basic, token = Challenge("basic", {}), bearer()
    assert choose((basic, token)) is token and choose((basic,)) is basic
    assert choose((Challenge("negotiate", {}), Challenge("bearer", {}))) is None


class Server:
    """Gives tokens 1, 2, ..., and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[TokenRequest] = []

    def __call__(self, made: TokenRequest, tries: int | None) -> bytes:
        self.asked.append(made)
        return b'{"token":"%d"}' % len(self.asked)


Fetching = Callable[[TokenRequest, int | None], bytes]


def desk(tokens: Tokens, fetch: Fetching, who: Credentials = ALICE, place: tuple[str, str, int] = HERE, cancel: Cancel | None = None) -> Desk:
    return tokens.desk(place, who, fetch, cancel or Cancel(), lambda _: False)


def test_a_token_is_kept_for_what_it_was_asked_for() -> None:
    server = Server()
    mine = desk(Tokens(), server)
    assert mine.known(PULL) == ""  # the registry never asked
    assert mine.meet((bearer(),), PUSH, "") == "Bearer 1"
    assert mine.known(PUSH) == mine.known(PULL) == "Bearer 1"
    assert mine.known(("repository:other:pull",)) == "Bearer 2"
    assert mine.known(PULL) == "Bearer 1" and len(server.asked) == 2


def test_what_the_registry_asks_for_is_asked_for_too() -> None:
    server = Server()
    desk(Tokens(), server).meet((bearer(scope="repository:app:delete"),), PULL, "")
    assert ("scope", "repository:app:delete,pull") in query(server.asked[0])


def test_a_refused_token_is_not_given_again() -> None:
    server = Server()
    mine = desk(Tokens(), server)
    first = mine.meet((bearer(),), PULL, "")
    assert mine.meet((bearer(),), PULL, first) == "Bearer 2"
    assert mine.meet((Challenge("basic", {}),), PULL, ALICE.basic) == ""


def test_tokens_are_for_one_user_at_one_registry() -> None:
    tokens, server = Tokens(), Server()
    assert desk(tokens, server).meet((bearer(),), PULL, "") == "Bearer 1"
    assert desk(tokens, server, Credentials()).known(PULL) == ""
    assert desk(tokens, server, place=("https", "other.example.com", 443)).meet((bearer(),), PULL, "") == "Bearer 2"
    assert desk(tokens, server, Credentials("bob", "x")).meet((bearer(),), PULL, "") == "Bearer 3"


def test_a_token_of_the_registry_is_sent_as_it_is() -> None:
    mine = desk(Tokens(), Server(), Credentials(registry_token="given"))
    assert mine.known(PULL) == "Bearer given" and mine.meet((bearer(),), PULL, "Bearer given") == ""


def test_who_has_no_password_for_basic() -> None:
    with pytest.raises(NoCredentials):
        desk(Tokens(), Server(), Credentials()).meet((Challenge("basic", {}),), PULL, "")


def test_those_who_ask_together_share_the_answer() -> None:
    ready = threading.Barrier(8)
    server, tokens, got = Server(), Tokens(), []

    def ask() -> None:
        ready.wait()
        got.append(desk(tokens, server).meet((bearer(),), PULL, ""))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["Bearer 1"] * 8


def test_who_waits_for_anothers_answer_can_be_cancelled() -> None:
    tokens, cancel, entered, go_on = Tokens(), Cancel(), threading.Event(), threading.Event()

    def slow(made: TokenRequest, tries: int | None) -> bytes:
        entered.set()
        assert go_on.wait(10)
        return b'{"token":"t"}'

    first = threading.Thread(target=lambda: desk(tokens, slow).meet((bearer(),), PULL, ""))
    first.start()
    assert entered.wait(10)
    threading.Timer(0.1, cancel.cancel).start()
    with pytest.raises(Cancelled):
        desk(tokens, slow, cancel=cancel).meet((bearer(),), PULL, "")
    go_on.set()
    first.join()


def test_a_token_is_used_until_it_is_nearly_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    asked: list[TokenRequest] = []

    def fetch(made: TokenRequest, tries: int | None) -> bytes:
        asked.append(made)
        return b'{"token":"%d","expires_in":300}' % len(asked)

    mine = desk(Tokens(), fetch)
    mine.meet((bearer(),), PULL, "")
    for at, value in ((1294.0, "Bearer 1"), (1296.0, "Bearer 2"), (1590.0, "Bearer 2")):
        now[0] = at
        assert mine.known(PULL) == value


def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_module, "MAX_TOKENS", 10)
    tokens, server = Tokens(), Server()
    for n in range(50):
        desk(tokens, server, place=("https", f"{n}.example.com", 443)).meet((bearer(),), (f"repository:{n}:pull",), "")
    assert len(tokens._challenges) <= 10 and len(tokens._busy) <= 11 and sum(map(len, tokens._tokens.values())) <= 10


def test_a_token_server_that_fails_is_forgotten_with_what_was_asked() -> None:
    tokens, server = Tokens(), Server()
    desk(tokens, server).meet((bearer(),), PULL, "")

    def fail(made: TokenRequest, tries: int | None) -> bytes:
        assert tries == 1, "nobody waits for what may not be needed"
        raise Untrue("broken")

    assert desk(tokens, fail).known(PUSH) == "" and desk(tokens, server).known(PUSH) == ""
