"""One request of ours with all that it takes to get its answer: authorisation, redirects, retries.

Order, from the outside: retries (of failures that may pass), redirects, authorisation (of a 401 of the registry's own origin, not of a redirect's).
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from pier.errors import PierError
from pier.registry import challenge, redirect, retry
from pier.registry.cancel import Cancel
from pier.registry.config import RegistryConfig
from pier.registry.credentials import Credentials
from pier.registry.errors import MAX_BODY_BYTES, Answered, NotKnown, Unreachable, Untrue, answered, shown_url
from pier.registry.hosts import Host, Tls
from pier.registry.proxies import proxy_for
from pier.registry.tokens import MAX_ANSWER_BYTES, TokenRequest, Tokens
from pier.registry.transport import Body, Response, Route, Transport

AUTHORISATIONS = 2  # a token of the cache, and a fresh one
OK = frozenset({200})
NOBODY = Credentials()


@dataclass(frozen=True)
class Endpoint:
    """A host as it is spoken to now: `base` is its URL, by http:// where it speaks no TLS and need not."""

    host: Host
    base: str

    @property
    def insecure(self) -> bool:
        """Whether plain http will do, for it and for what it names."""
        return self.host.plain_http or self.base.startswith("http://")

    @property
    def origin(self) -> redirect.Origin:
        """(scheme, host, port): where its credentials may go."""
        return redirect.origin(self.base)


@dataclass(frozen=True)
class Ask:
    """A request. path: below the endpoint's base, or a whole URL (a Location, checked by `redirect.resolve`).

    ok: statuses that are answers; any other is an error. repeat: whether it may be sent again when nobody knows what became of the first.
    anonymous: a URL that is not the registry's: nothing of ours goes there.
    """

    method: str
    path: str
    scopes: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    ok: frozenset[int] = OK
    repeat: bool = True
    anonymous: bool = False


class Exchange:
    """Asks on behalf of one user, with one Cancel; what is learnt about registries lies in `tokens`, shared by all."""

    def __init__(
        self, transport: Transport, tokens: Tokens, config: RegistryConfig, user_agent: str, credentials: Credentials, cancel: Cancel,
        notice: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.credentials = credentials
        self.cancel = cancel
        self.notice = notice
        self.policy = retry.Policy(config.max_attempts)
        self._transport = transport
        self._tokens = tokens
        self._config = config
        self._user_agent = user_agent

    def ask(self, endpoint: Endpoint, ask: Ask) -> Response:
        """The answer, its body unread; close it. Raises Answered, Unreachable, Untrue, Cancelled."""
        failures = 0
        while True:
            after_s: float | None = None
            try:
                response = self._follow(endpoint, ask)
                if response.status in ask.ok:
                    return response
                after_s = retry.retry_after_s(response.headers.get("retry-after", ""), time.time())
                failure: PierError = refusal(response)
                again = response.status in retry.STATUSES and (ask.repeat or response.status in (429, 503))
            except Unreachable as error:
                failure, again = error, error.passing and ask.repeat
            failures += 1
            if not again or not self.pause(failures, failure, after_s):
                raise failure

    def pause(self, failures: int, failure: PierError, after_s: float | None = None) -> bool:
        """Wait before a repetition, and say so; False where it was tried often enough. Raises Cancelled."""
        wait_s = self.policy.wait_s(failures, after_s, random.random())
        if wait_s is None:
            return False
        self.notice(f"retrying in {wait_s:.0f} s: {failure}" if wait_s >= 1 else f"retrying: {failure}")
        self.cancel.wait(wait_s)
        return True

    def _follow(self, endpoint: Endpoint, ask: Ask) -> Response:
        method, body = ask.method, ask.body
        url = ask.path if "://" in ask.path else _url(endpoint, ask)
        for _ in range(redirect.MAX_HOPS):
            response = self._authorised(endpoint, ask, method, url, body)
            location = response.headers.get("location", "")
            if response.status not in redirect.STATUSES or response.status in ask.ok or not location:
                return response
            status = response.status
            with response:
                response.read_bounded(MAX_BODY_BYTES)
            try:
                step = redirect.follow(method, url, status, location, insecure=endpoint.insecure)
            except redirect.BadLocation as error:
                raise Untrue(f"{shown_url(url)} redirects to where Pier does not follow: {error}: {shown_url(location)!r}") from None
            method, url, body = step.method, step.url, body if step.keeps_body else None
        raise Untrue(f"{shown_url(url)}: stopped after {redirect.MAX_HOPS} redirects")

    def _authorised(self, endpoint: Endpoint, ask: Ask, method: str, url: str, body: Body | None) -> Response:
        own = not ask.anonymous and redirect.origin(url) == endpoint.origin
        headers = {"User-Agent": self._user_agent, **ask.headers, **(dict(endpoint.host.headers) if own else {})}
        tls = endpoint.host.tls if own else Tls(endpoint.host.tls.verify, endpoint.host.tls.ca)
        proxy = endpoint.host.proxy if own and endpoint.host.proxy else proxy_for(url, self._config.proxies)
        route = Route(tls, proxy, endpoint.host.dial_s if own else None)
        if not own or "authorization" in map(str.lower, headers):
            return self._transport.send(method, url, headers, body, route, self.cancel)
        who = NOBODY if endpoint.host.mirror else self.credentials

        def fetch(request: TokenRequest) -> bytes:
            return self._token(endpoint, request)

        try:
            value = self._tokens.header(endpoint.origin, who, ask.scopes, fetch, self.cancel, insecure=endpoint.insecure)
            for _ in range(AUTHORISATIONS):
                sent = {**headers, "Authorization": value} if value else headers
                response = self._transport.send(method, url, sent, body, route, self.cancel)
                if response.status != 401:
                    return response
                challenges = challenge.parse(response.all("www-authenticate"))
                value = self._tokens.answer(
                    endpoint.origin, who, challenges, ask.scopes, value, fetch, self.cancel, insecure=endpoint.insecure
                )  # fmt: skip
                if not value:
                    return response
                with response:
                    response.read_bounded(MAX_BODY_BYTES)
            sent = {**headers, "Authorization": value}
            return self._transport.send(method, url, sent, body, route, self.cancel)
        except NotKnown as error:  # the token server's: for the user it is the request that failed
            raise NotKnown(error.answer, f'{method.capitalize()} "{shown_url(url)}": {error}') from None

    def _token(self, endpoint: Endpoint, request: TokenRequest) -> bytes:
        """Send a token request: redirects within the token server's origin only, since credentials are in it."""
        headers = {"User-Agent": self._user_agent, **({"Authorization": request.authorization} if request.authorization else {})}
        if request.form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = None if request.form is None else Body.of(request.form)
        tls = Tls(endpoint.host.tls.verify, endpoint.host.tls.ca)
        failures = 0
        while True:
            after_s: float | None = None
            try:
                with self._transport.send(
                    request.method, request.url, headers, body, Route(tls, proxy_for(request.url, self._config.proxies)), self.cancel
                ) as response:
                    if response.status == 200:
                        return response.read_bounded(MAX_ANSWER_BYTES)
                    after_s = retry.retry_after_s(response.headers.get("retry-after", ""), time.time())
                    failure: PierError = refusal(response)
                    again = response.status in retry.STATUSES
            except Unreachable as error:
                failure, again = error, error.passing
            failures += 1
            if not again or not self.pause(failures, failure, after_s):
                raise failure


def refusal(response: Response) -> Answered:
    """The error that an answer is; reads and closes it."""
    with response:
        try:
            body = response.read_bounded(MAX_BODY_BYTES)[:MAX_BODY_BYTES]
        except Unreachable:
            body = b""
        return answered(response.method, response.url, response.status, response.headers, body, challenge.parse(response.all("www-authenticate")))


def _url(endpoint: Endpoint, ask: Ask) -> str:
    query = urlencode({"ns": endpoint.host.namespace}) if endpoint.host.namespace and ask.method in ("GET", "HEAD") else ""
    separator = "&" if "?" in ask.path else "?"
    return endpoint.base + ask.path + (separator + query if query else "")
