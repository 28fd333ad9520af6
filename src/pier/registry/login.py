"""Proving who one is to a registry, as Docker's POST /auth does: ask its root, meet the challenge, ask again."""

from dataclasses import dataclass, field

from pier.errors import Internal
from pier.registry import challenge, scopes, tokens
from pier.registry.endpoints import Endpoint
from pier.registry.errors import REASONS, Answered, without_credentials
from pier.registry.exchange import Exchange
from pier.registry.transport import Response

SUCCEEDED = "Login Succeeded"
HUB_SERVERS = frozenset({"", "https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"})


@dataclass(frozen=True)
class Login:
    """status: Docker's sentence. identity_token: to be kept in place of the password, "" where the registry gives none."""

    status: str
    identity_token: str = field(default="", repr=False)


def domain_of(server: str) -> str:
    """The domain that a server's address of a login means: `https://index.docker.io/v1/` and "" are Docker Hub (""), else HOST[:PORT]."""
    if server in HUB_SERVERS:
        return ""
    host = server.partition("://")[2] if "://" in server else server
    host = host.partition("/")[0]
    return "" if host in HUB_SERVERS else host


def login(exchange: Exchange, endpoint: Endpoint) -> Login:
    """Prove the exchange's credentials. Raises NotKnown where a token server refuses them, Internal with Docker's words where the registry does."""
    url = f"{endpoint.base}/"
    response = exchange.send(endpoint, "GET", url, {}, own=True)
    challenges = challenge.parse(response.all("www-authenticate")) if response.status == 401 else ()
    response.close()
    asked = tokens.choose(challenges)
    if asked is None:
        return _checked(response)
    who = exchange.credentials
    if asked.scheme == "basic":
        if not who.basic:
            raise without_credentials("GET", url)
        value, refresh = who.basic, ""
    else:
        request = tokens.request(asked, who, scopes.merge(asked.get("scope")), insecure=exchange.insecure(endpoint, asked.get("realm")), offline=True)
        try:
            token = tokens.read(exchange.token(endpoint, request), (), 0.0)
        except Answered as error:
            raise error.within("GET", url) from None
        value, refresh = f"Bearer {token.value}", token.refresh
    response = exchange.send(endpoint, "GET", url, {"Authorization": value}, own=True)
    response.close()
    return _checked(response, refresh)


def _checked(response: Response, refresh: str = "") -> Login:
    if response.status == 200:
        return Login(SUCCEEDED, refresh)
    reason = REASONS.get(response.status, "")
    raise Internal(f"login attempt to {response.url} failed with status: {response.status} {reason}".rstrip())
