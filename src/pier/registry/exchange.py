"""One request of ours with all that it takes to get its answer: authorisation, redirects, retries.

Order, from the outside: retries (of failures that may pass), redirects, authorisation (of a 401 of the registry's own origin, not of a redirect's).
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from urllib.parse import urlencode

from pier.errors import PierError
from pier.registry import challenge, hosts, redirect, retry
from pier.registry.cancel import Cancel
from pier.registry.config import RegistryConfig
from pier.registry.credentials import Credentials
from pier.registry.endpoints import Endpoint, Learnt
from pier.registry.errors import MAX_BODY_BYTES, Answered, Unreachable, Untrue, answered, shown_url, without_credentials
from pier.registry.hosts import Tls
from pier.registry.proxies import proxy_for
from pier.registry.tokens import MAX_ANSWER_BYTES, NoCredentials, TokenRequest, Tokens
from pier.registry.transport import Body, Response, Route, Transport

OK = frozenset({200})
NOBODY = Credentials()

T = TypeVar("T")


@dataclass(frozen=True)
class Ask:
    """A request. path: below the endpoint's base, or a whole URL (a Location, checked by `redirect.resolve`).

    ok: statuses that are answers; any other is an error. repeat: whether it may be sent again when nobody knows what became of the first.
    tries: how often at most, None as usual. anonymous: a URL that is not the registry's: nothing of ours goes there.
    unasked: name and password go along before anybody asks for them (with nobody, nothing does).
    """

    method: str
    path: str
    scopes: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    ok: frozenset[int] = OK
    repeat: bool = True
    tries: int | None = None
    anonymous: bool = False
    unasked: bool = False


class Exchange:
    """Asks on behalf of one user, with one Cancel; what is learnt of token servers lies in `tokens`, shared by all."""

    def __init__(
        self, transport: Transport, tokens: Tokens, learnt: Learnt, config: RegistryConfig, user_agent: str, credentials: Credentials,
        cancel: Cancel, notice: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.credentials = credentials
        self.cancel = cancel
        self.notice = notice
        self.policy = retry.Policy(config.max_attempts)
        self._transport = transport
        self._tokens = tokens
        self._learnt = learnt
        self._config = config
        self._user_agent = user_agent

    def ask(self, endpoint: Endpoint, ask: Ask) -> Response:
        """The answer, its body unread; close it. Raises Answered, Unreachable, Untrue, Cancelled."""

        def once() -> Response:
            response = self._follow(endpoint, ask)
            if response.status in ask.ok:
                return response
            raise refusal(response)

        return self._retried(once, ask.repeat, ask.tries or endpoint.tries, endpoint)

    def token(self, endpoint: Endpoint, request: TokenRequest, tries: int | None = None) -> bytes:
        """The answer of a token server, for an endpoint that named it. Its redirects are not followed, since credentials are in the request."""
        headers = {"Authorization": request.authorization} if request.authorization else {}
        if request.form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"

        def once() -> bytes:
            body = None if request.form is None else Body.of(request.form)
            own = redirect.origin(request.url) == endpoint.origin
            response = self.send(endpoint, request.method, request.url, headers, body, own=own)
            if response.status != 200:
                raise refusal(response)
            with response:
                return response.read_bounded(MAX_ANSWER_BYTES)

        return self._retried(once, True, tries or endpoint.tries, endpoint)

    def pause(self, failures: int, failure: PierError, after_s: float | None = None, tries: int | None = None) -> bool:
        """Wait before a repetition, and say so; False where it was tried often enough. Raises Cancelled."""
        wait_s = self.policy.wait_s(failures, after_s, random.random())
        if wait_s is None or (tries is not None and failures >= tries):
            return False
        self.notice(f"retrying in {wait_s:.0f} s: {failure}" if wait_s >= 1 else f"retrying: {failure}")
        self.cancel.wait(wait_s)
        return True

    def insecure(self, endpoint: Endpoint, url: str) -> bool:
        """Whether plain http will do at a URL that an endpoint names: on the endpoint's host as there, elsewhere as that host is configured.

        False for what is no URL.
        """
        return endpoint.insecure if _same_host(endpoint, url) else self._told_insecure(url)

    def send(self, endpoint: Endpoint, method: str, url: str, headers: Mapping[str, str], body: Body | None = None, *, own: bool) -> Response:
        """One request, any answer. own: whether `url` is on the endpoint's origin: only there go its headers and its client certificate.

        Whom an insecure registry sends us to is verified like anybody else.
        """
        host = endpoint.host
        sent = {"User-Agent": self._user_agent, **headers, **(dict(host.headers) if own else {})}
        proxy = host.proxy if own and host.proxy else proxy_for(url, self._config.proxies)
        verify = host.tls.verify if own or _same_host(endpoint, url) else not self._told_insecure(url)
        route = Route(host.tls if own else Tls(verify, host.tls.ca), proxy, host.dial_s if own else None)
        return self._transport.send(method, url, sent, body, route, self.cancel)

    def _told_insecure(self, url: str) -> bool:
        try:
            scheme, host, port = redirect.origin(url)
        except redirect.BadLocation:
            return False
        name = f"[{host}]" if ":" in host else host
        names = (f"{name}:{port}", *((name,) if port == redirect.PORTS[scheme] else ()))
        return any(hosts.insecure(name, self._config) for name in names)

    def _retried(self, once: Callable[[], T], repeat: bool, tries: int | None, endpoint: Endpoint) -> T:
        """What `once` gives, called again after failures that may pass. A host that never answered, and is not there, is not waited for."""
        failures, fresh = 0, False
        while True:
            after_s: float | None = None
            try:
                return once()
            except Unreachable as error:
                if error.stale and repeat and not fresh:  # the server had closed a connection of the pool: nothing to wait for
                    fresh = True
                    continue
                failure: PierError = error
                again = error.passing and repeat and (bool(self._learnt.base(endpoint.host)) or not error.absent)
            except Answered as error:
                failure, after_s = error, error.answer.retry_after_s
                again = error.answer.status in (retry.STATUSES if repeat else retry.UNTOUCHED)
            failures += 1
            if not again or not self.pause(failures, failure, after_s, tries):
                raise failure

    def _follow(self, endpoint: Endpoint, ask: Ask) -> Response:
        """The answer at the end of all redirects."""
        method, body = ask.method, ask.body
        url = ask.path if "://" in ask.path else _url(endpoint, ask)
        for _ in range(redirect.MAX_HOPS):
            response = self._authorised(endpoint, ask, method, url, body)
            location = response.headers.get("location", "")
            if response.status not in redirect.STATUSES or response.status in ask.ok or not location:
                return response
            response.close()
            try:
                step = redirect.follow(method, url, response.status, location, insecure=partial(self.insecure, endpoint))
            except redirect.BadLocation as error:
                raise Untrue(f"{shown_url(url)} redirects to where Pier does not follow: {error}: {shown_url(location)!r}") from None
            method, url, body = step.method, step.url, body if step.keeps_body else None
        raise Untrue(f"{shown_url(url)}: stopped after {redirect.MAX_HOPS} redirects")

    def _authorised(self, endpoint: Endpoint, ask: Ask, method: str, url: str, body: Body | None) -> Response:
        """One hop, with the registry's credentials if it is on the registry's own origin. A 401 to fresh ones is the answer: no endless dance."""
        own = not ask.anonymous and redirect.origin(url) == endpoint.origin
        if not own or any(name.lower() == "authorization" for name, _ in endpoint.host.headers):
            return self.send(endpoint, method, url, ask.headers, body, own=own)
        who = NOBODY if endpoint.host.mirror else self.credentials
        desk = self._tokens.desk(endpoint.origin, who, partial(self.token, endpoint), self.cancel, partial(self.insecure, endpoint))
        value = desk.known(ask.scopes) or (who.basic if ask.unasked else "")
        response = self.send(endpoint, method, url, _with(ask.headers, value), body, own=True)
        self._learnt.answered(endpoint)
        if response.status != 401:
            return response
        with ExitStack() as done, _failing(method, url):
            done.callback(response.close)
            fresh = desk.meet(challenge.parse(response.all("www-authenticate")), ask.scopes, value)
            if not fresh:
                done.pop_all()
                return response
        return self.send(endpoint, method, url, _with(ask.headers, fresh), body, own=True)


def _same_host(endpoint: Endpoint, url: str) -> bool:
    """Whether a URL is on the endpoint's host, at whatever port."""
    try:
        return redirect.origin(url)[1] == endpoint.origin[1]
    except redirect.BadLocation:
        return False


@contextmanager
def _failing(method: str, url: str) -> Iterator[None]:
    """What goes wrong at a token server is, for the user, a failure of the request that needs the token."""
    try:
        yield
    except NoCredentials:
        raise without_credentials(method, url) from None
    except Answered as error:
        raise error.within(method, url) from None


def _with(headers: Mapping[str, str], authorization: str) -> Mapping[str, str]:
    return {**headers, "Authorization": authorization} if authorization else headers


def refusal(response: Response) -> Answered:
    """The error that an answer is; reads and closes it."""
    with response:
        try:
            body = response.read_bounded(MAX_BODY_BYTES)[:MAX_BODY_BYTES]
        except Unreachable:
            body = b""
    after_s = retry.retry_after_s(response.headers.get("retry-after", ""), time.time())
    found = challenge.parse(response.all("www-authenticate"))
    return answered(response.method, response.url, response.status, response.headers.get("content-type", ""), body, found, after_s)


def _url(endpoint: Endpoint, ask: Ask) -> str:
    if not endpoint.host.namespace or ask.method not in ("GET", "HEAD"):
        return endpoint.base + ask.path
    return endpoint.base + ask.path + ("&" if "?" in ask.path else "?") + urlencode({"ns": endpoint.host.namespace})
