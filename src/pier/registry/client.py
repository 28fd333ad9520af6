"""The front of the package: registries for one process. Connections, tokens and what was learnt about servers are shared here."""

from collections.abc import Callable, Mapping, Sequence

from pier.oci.reference import Reference
from pier.registry.cancel import Cancel
from pier.registry.config import RegistryConfig
from pier.registry.credentials import Credentials
from pier.registry.endpoints import Endpoints, Learnt
from pier.registry.exchange import Exchange
from pier.registry.login import Login, domain_of, login
from pier.registry.repository import Repository
from pier.registry.search import Found, catalogue, search, wanted
from pier.registry.tokens import Tokens
from pier.registry.transport import Transport


def _silent(_: str) -> None:
    pass


class Registries:
    """All registries, for one process; thread-safe. user_agent: what we call ourselves."""

    def __init__(self, config: RegistryConfig | None = None, user_agent: str = "pier") -> None:
        self.config = config or RegistryConfig()
        self._user_agent = user_agent
        self._transport = Transport()
        self._tokens = Tokens()
        self._learnt = Learnt()

    def repository(
        self, reference: Reference, credentials: Credentials | None = None, *, cancel: Cancel | None = None,
        notice: Callable[[str], None] = _silent, push: bool = False,
    ) -> Repository:  # fmt: skip
        """A repository, not asked anything yet. notice: is told of retries and of mirrors that fail, a line each. push: it will be written to."""
        endpoints = self._endpoints(reference.domain, notice)
        return Repository(reference, endpoints, self._exchange(credentials, cancel, notice), ("pull", "push") if push else ("pull",))

    def login(self, server: str, credentials: Credentials, *, cancel: Cancel | None = None) -> Login:
        """Prove credentials to a server (as Docker names it: "" or https://index.docker.io/v1/ is Docker Hub). See login.login for what is raised."""
        exchange = self._exchange(credentials, cancel, _silent)
        return self._endpoints(domain_of(server)).each("resolve", lambda endpoint: login(exchange, endpoint), mirrors=False)

    def catalog(self, server: str, credentials: Credentials | None = None, limit: int | None = None, *, cancel: Cancel | None = None) -> list[str]:
        """The repositories of a registry."""
        exchange = self._exchange(credentials, cancel, _silent)
        return self._endpoints(domain_of(server)).each("pull", lambda endpoint: catalogue(exchange, endpoint, limit), mirrors=False)

    def search(
        self, term: str, limit: int = 0, filters: Mapping[str, Sequence[str]] | None = None, credentials: Credentials | None = None,
        *, cancel: Cancel | None = None,
    ) -> list[Found]:  # fmt: skip
        """What `docker search` finds: TERM on Docker Hub, HOST/TERM elsewhere. Raises Invalid with Docker's words for a bad filter or limit."""
        query = wanted(term, limit, filters or {})
        exchange = self._exchange(credentials, cancel, _silent)
        return self._endpoints(query.domain).each("pull", lambda endpoint: search(exchange, endpoint, query), mirrors=False)

    def close_idle(self) -> None:
        """End the connections that nobody uses now, as after a pull; what is learnt stays."""
        self._transport.close_idle()

    def _endpoints(self, domain: str, notice: Callable[[str], None] = _silent) -> Endpoints:
        return Endpoints(domain, self.config, self._learnt, notice)

    def _exchange(self, credentials: Credentials | None, cancel: Cancel | None, notice: Callable[[str], None]) -> Exchange:
        who, switch = credentials or Credentials(), cancel or Cancel()
        return Exchange(self._transport, self._tokens, self._learnt, self.config, self._user_agent, who, switch, notice)
