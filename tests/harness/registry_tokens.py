"""Who may do what at a test registry: basic authentication, and a token server as Docker Hub's (distribution: spec/auth/{token,oauth,jwt}).

    with TokenServer({"alice": "secret"}) as tokens, FakeRegistry(auth=tokens) as registry: ...

Tokens are JWTs signed by a key whose certificate is in `bundle`, so that docker-registry takes them, too. Refresh tokens: `refresh[token] = user`.
"""

import base64
import json
import secrets
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl

import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509 import load_pem_x509_certificate

from .registry_server import Answer, Body, Request, Server

ISSUER = "the tests' token server"
Access = Callable[[str, str, str], bool]


class Auth(Protocol):
    """How a registry knows who asks."""

    def challenge(self, request: Request, repository: str, action: str) -> str:
        """The value of WWW-Authenticate."""
        ...

    def allows(self, request: Request, repository: str, action: str) -> bool:
        """Whether the request may do this; action is pull, push, delete or "" (anything at all: /v2/)."""
        ...


class Basic:
    """User and password with every request."""

    def __init__(self, users: Mapping[str, str], *, anonymous_pull: bool = False) -> None:
        self.users, self.anonymous_pull = dict(users), anonymous_pull

    def challenge(self, request: Request, repository: str, action: str) -> str:
        return 'Basic realm="test registry"'

    def allows(self, request: Request, repository: str, action: str) -> bool:
        return basic_user(request, self.users) != "" or (self.anonymous_pull and action == "pull")


def basic_user(request: Request, users: Mapping[str, str]) -> str:
    """The user of the Authorization header if the password is right; "" else."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    user, _, password = base64.b64decode(value).decode().partition(":")
    return user if user in users and users[user] == password else ""


class TokenServer(Server):
    """Bearer tokens for `users`. `access(user, repository, action)` decides (user "" is nobody); by default users may all, nobody nothing."""

    service = "test registry"

    def __init__(self, users: Mapping[str, str], *, access: Access | None = None, lifetime_s: int = 300, **server: Any) -> None:
        super().__init__(**server)
        self.users, self.lifetime_s = dict(users), lifetime_s
        self.access: Access = access or (lambda user, repository, action: bool(user))
        self.refresh: dict[str, str] = {}
        self.issued: dict[str, tuple[float, dict[str, set[str]]]] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="pier-tokens-")
        self.bundle = Path(self._folder.name) / "roots.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.bundle)
        issued = authority.issue_cert("tokens.example.com")
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        certificate = load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
        self._x5c = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()

    def close(self) -> None:
        super().close()
        self._folder.cleanup()

    # -- for the registry

    @property
    def realm(self) -> str:
        return f"{self.url}/token"

    def challenge(self, request: Request, repository: str, action: str) -> str:
        actions = "pull,push" if action == "push" else action
        scope = f',scope="repository:{repository}:{actions}"' if repository else ""
        token = request.headers.get("authorization", "").partition(" ")[2]
        why = "insufficient_scope" if token in self.issued else "invalid_token"
        return f'Bearer realm="{self.realm}",service="{self.service}"{scope}' + (f',error="{why}"' if token else "")

    def allows(self, request: Request, repository: str, action: str) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        until, granted = self.issued.get(token, (0.0, {}))
        return scheme.lower() == "bearer" and time.time() < until and (not action or action in granted.get(repository, set()))

    def expire(self) -> None:
        """No token that was given out holds any longer."""
        self.issued.clear()

    # -- for the client

    def answer(self, request: Request, body: Body) -> Answer:
        if request.method == "GET":
            user, refused = self._basic(request)
            return refused or self._give(user, request.query, request.query.get("offline_token") == "true", False)
        fields = dict(parse_qsl(body.read().decode()))
        if fields.get("grant_type") == "refresh_token":
            user = self.refresh.get(fields.get("refresh_token", ""), "")
        elif fields.get("grant_type") == "password":
            user = fields.get("username", "")
            user = user if user and self.users.get(user) == fields.get("password") else ""
        else:
            return _json(400, {"error": "unsupported_grant_type"})
        if not user:
            return _json(401, {"error": "invalid_grant", "details": "incorrect username or password"})
        return self._give(user, fields, fields.get("access_type") == "offline", True, fields.get("refresh_token", ""))

    def _basic(self, request: Request) -> tuple[str, Answer | None]:
        if "authorization" not in request.headers:
            return "", None
        user = basic_user(request, self.users)
        return user, None if user else _json(401, {"details": "incorrect username or password"})

    def _give(self, user: str, asked: Mapping[str, str], offline: bool, oauth: bool, refresh: str = "") -> Answer:
        granted: dict[str, set[str]] = {}
        for scope in asked.get("scope", "").split():
            kind, _, rest = scope.partition(":")
            repository, _, actions = rest.rpartition(":")
            allowed = {action for action in actions.split(",") if self.access(user, repository, action)}
            if kind == "repository" and allowed:
                granted.setdefault(repository, set()).update(allowed)
        token = self.sign(user, asked.get("service", self.service), granted)
        self.issued[token] = (time.time() + self.lifetime_s, granted)
        answer: dict[str, Any] = {"access_token": token, "expires_in": self.lifetime_s, "issued_at": _now()}
        answer |= {"scope": asked.get("scope", "")} if oauth else {"token": token}
        if offline and user:
            refresh = refresh or secrets.token_urlsafe(24)
            self.refresh[refresh] = user
            answer["refresh_token"] = refresh
        return _json(200, answer)

    def sign(self, user: str, audience: str, granted: Mapping[str, set[str]]) -> str:
        """A JWT: ES256, the certificate in x5c."""
        now = int(time.time())
        access = [{"type": "repository", "name": name, "actions": sorted(actions)} for name, actions in granted.items()]
        header = {"typ": "JWT", "alg": "ES256", "x5c": [self._x5c]}
        claims = {
            "iss": ISSUER, "sub": user, "aud": audience, "exp": now + self.lifetime_s, "nbf": now - 10, "iat": now,
            "jti": secrets.token_hex(8), "access": access,
        }  # fmt: skip
        signed = f"{_base64(json.dumps(header).encode())}.{_base64(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_base64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _json(status: int, document: object) -> Answer:
    return Answer(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
