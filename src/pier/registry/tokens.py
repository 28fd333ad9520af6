"""Who we are, in the header Authorization: what a registry's challenge asks for, and the tokens that were got for it.

A registry answers 401 and names a scheme: Basic, or Bearer with a token server (`realm`). The token server gets the credentials of that registry and
gives a token, which goes to that registry (its origin) alone. Sources: distribution specification, "Token Authentication" and "OAuth2 Token
Authentication"; RFC 6749 for what the second takes from it.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from pier.errors import PierError
from pier.registry import scopes
from pier.registry.cancel import Cancel
from pier.registry.challenge import Challenge
from pier.registry.credentials import Credentials
from pier.registry.errors import Untrue, clean, shown_url
from pier.registry.redirect import BadLocation, Origin, origin

MAX_ANSWER_BYTES = 1 << 20
SHORTEST_S = 60.0  # what a token is good for at least, by the specification
EARLY_S = 5.0
CLIENT_ID = "docker"  # token servers know it
MAX_TOKENS = 1000


@dataclass(frozen=True)
class TokenRequest:
    """What is asked of a token server: GET with the query, or POST where there is a form."""

    method: str
    url: str
    form: bytes | None = field(default=None, repr=False)
    authorization: str = field(default="", repr=False)


@dataclass(frozen=True)
class Token:
    """value: what goes behind `Bearer `. expires_s: on the monotonic clock. refresh: an identity token, where the server gave one."""

    value: str = field(repr=False)
    expires_s: float
    scopes: tuple[str, ...]
    refresh: str = field(default="", repr=False)


Fetch = Callable[[TokenRequest, int | None], bytes]
"""Sends a TokenRequest, so often at most (None: as configured), and returns the answer's body, bounded; raises the errors of an exchange."""


def request(wanted: Challenge, credentials: Credentials, wanted_scopes: tuple[str, ...], *, insecure: bool, offline: bool = False) -> TokenRequest:
    """The request that a Bearer challenge asks for. offline: for an identity token too. Raises Untrue for a realm that no credentials may go to."""
    realm, service = wanted.get("realm"), wanted.get("service")
    try:
        scheme = origin(realm)[0]
        parts = urlsplit(realm)
    except BadLocation as error:
        raise Untrue(f"the registry names a token server that is none: {clean(realm)!r}: {error}") from None
    if scheme == "http" and not insecure:
        raise Untrue(f"the registry's token server {shown_url(realm)} is on plain http: refused, since credentials would go there in the clear")
    if parts.username is not None or parts.fragment:
        raise Untrue(f"the registry names a token server that is none: {shown_url(realm)!r}: credentials or a fragment in its address")
    if credentials.identity_token:
        form = {"grant_type": "refresh_token", "service": service, "client_id": CLIENT_ID, "scope": " ".join(wanted_scopes)}
        return TokenRequest("POST", realm, urlencode({**form, "refresh_token": credentials.identity_token}).encode())
    query = [("service", service)] if service else []
    query += [("scope", scope) for scope in wanted_scopes]
    if credentials.username:
        query.append(("account", credentials.username))
    if offline:
        query += [("offline_token", "true"), ("client_id", CLIENT_ID)]
    separator = "&" if parts.query else "?"
    return TokenRequest("GET", realm + (separator + urlencode(query) if query else ""), authorization=credentials.basic)


def read(body: bytes, asked: tuple[str, ...], now_s: float) -> Token:
    """The token in a token server's answer. Raises Untrue."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    value = (found.get("token") or found.get("access_token")) if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(value, str) or not value or not value.isascii() or any(c <= " " for c in value):
        raise Untrue("authorization server did not include a token in the response")
    lasts = found.get("expires_in")
    lasts_s = float(lasts) if isinstance(lasts, int | float) and 0 < lasts < 1e9 else SHORTEST_S
    refresh = found.get("refresh_token")
    return Token(value, now_s + max(lasts_s, SHORTEST_S), asked, refresh if isinstance(refresh, str) else "")


class NoCredentials(Exception):
    """A registry wants a name and a password, and there are none."""


Key = tuple[Origin, str, str, Credentials]
"""What a token is for: the registry's origin, realm, service, who asked."""


class Tokens:
    """What was learnt of registries and got from their token servers, for one process. Thread-safe; at most MAX_TOKENS are kept of either."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._challenges: dict[tuple[Origin, Credentials], Challenge] = {}
        self._tokens: dict[Key, list[Token]] = {}
        self._busy: dict[Key, threading.Lock] = {}

    def desk(self, place: Origin, who: Credentials, fetch: Fetch, cancel: Cancel, insecure: Callable[[str], bool]) -> "Desk":
        """Where one user gets the Authorization for one registry. insecure: whether plain http will do for the token server at a URL."""
        return Desk(self, place, who, fetch, cancel, insecure)

    def asked(self, place: Origin, who: Credentials) -> Challenge | None:
        """What the registry asked for the last time."""
        with self._lock:
            return self._challenges.get((place, who))

    def forget(self, place: Origin, who: Credentials) -> None:
        """What the registry asked for is not true any more."""
        with self._lock:
            self._challenges.pop((place, who), None)

    def note(self, place: Origin, who: Credentials, wanted: Challenge, refused: str) -> None:
        """A registry asks for something; the Authorization that it refused is never given again."""
        with self._lock:
            if len(self._challenges) >= MAX_TOKENS:
                self._challenges.clear()
            self._challenges[place, who] = wanted
            for tokens in self._tokens.values():
                tokens[:] = [token for token in tokens if f"Bearer {token.value}" != refused]

    def cached(self, key: Key, wanted: tuple[str, ...]) -> Token | None:
        """A token that is still good and good enough."""
        now_s = time.monotonic()
        with self._lock:
            return next((t for t in self._tokens.get(key, []) if t.expires_s - EARLY_S > now_s and scopes.covers(t.scopes, wanted)), None)

    def keep(self, key: Key, token: Token) -> None:
        """Remember a token in place of those that it covers."""
        now_s = time.monotonic()
        with self._lock:
            if sum(map(len, self._tokens.values())) >= MAX_TOKENS:
                self._tokens.clear()
            kept = [t for t in self._tokens.get(key, []) if t.expires_s > now_s and not scopes.covers(token.scopes, t.scopes)]
            self._tokens[key] = [token, *kept]

    @contextmanager
    def alone(self, key: Key, cancel: Cancel) -> Iterator[None]:
        """One thread at a time asks for tokens of one kind: layers that are fetched together share the answer."""
        with self._lock:
            if len(self._busy) >= MAX_TOKENS:
                self._busy = {k: lock for k, lock in self._busy.items() if lock.locked()}
            lock = self._busy.setdefault(key, threading.Lock())
        while not lock.acquire(timeout=0.1):
            cancel.check()
        try:
            yield
        finally:
            lock.release()


class Desk:
    """See Tokens.desk."""

    def __init__(self, tokens: Tokens, place: Origin, who: Credentials, fetch: Fetch, cancel: Cancel, insecure: Callable[[str], bool]) -> None:
        self._tokens = tokens
        self._place = place
        self._who = who
        self._fetch = fetch
        self._cancel = cancel
        self._insecure = insecure

    def known(self, wanted: tuple[str, ...]) -> str:
        """The Authorization by what the registry asked for before; "" where it never asked, or that cannot be met: then let it ask again."""
        if self._who.registry_token:
            return f"Bearer {self._who.registry_token}"
        before = self._tokens.asked(self._place, self._who)
        if before is None or before.scheme == "basic":
            return self._who.basic if before else ""
        try:
            return self._bearer(before, wanted, 1)
        except PierError:
            self._tokens.forget(self._place, self._who)
            return ""

    def meet(self, challenges: tuple[Challenge, ...], wanted: tuple[str, ...], refused: str) -> str:
        """The Authorization that meets a 401, "" where there is none; never the one that was refused.

        Raises NoCredentials, what `fetch` raises, and Untrue for a token server that no credentials may go to.
        """
        asked = choose(challenges)
        if asked is None or self._who.registry_token:
            return ""
        self._tokens.note(self._place, self._who, asked, refused)
        if asked.scheme == "basic" and not self._who.basic:
            raise NoCredentials
        given = self._who.basic if asked.scheme == "basic" else self._bearer(asked, scopes.merge(*wanted, asked.get("scope")))
        return "" if given == refused else given

    def _bearer(self, asked: Challenge, wanted: tuple[str, ...], tries: int | None = None) -> str:
        key = self._place, asked.get("realm"), asked.get("service"), self._who
        with self._tokens.alone(key, self._cancel):
            token = self._tokens.cached(key, wanted)
            if token is None:
                answer = self._fetch(request(asked, self._who, wanted, insecure=self._insecure(asked.get("realm"))), tries)
                token = read(answer, wanted, time.monotonic())
                self._tokens.keep(key, token)
        return f"Bearer {token.value}"


def choose(challenges: tuple[Challenge, ...]) -> Challenge | None:
    """The challenge to meet: a token goes before a password; None where there is neither."""
    bearers = [c for c in challenges if c.scheme == "bearer" and c.get("realm")]
    return next(iter(bearers + [c for c in challenges if c.scheme == "basic"]), None)
