"""The front of the package: registries for one process. Connections, tokens and what was learnt about servers are shared here."""

from collections.abc import Callable, Sequence

from pier.oci.reference import Reference
from pier.registry.cancel import Cancel
from pier.registry.config import RegistryConfig
from pier.registry.credentials import Credentials
from pier.registry.exchange import Endpoint, Exchange
from pier.registry.hosts import Host, Op, hosts
from pier.registry.repository import Repository
from pier.registry.tokens import Tokens
from pier.registry.transport import Transport

PLAIN_S = 600.0  # how long a server that spoke no TLS is asked by http first


def _silent(_: str) -> None:
    pass


class Registries:
    """All registries, for one process; thread-safe. user_agent: what we call ourselves."""

    def __init__(self, config: RegistryConfig | None = None, user_agent: str = "pier") -> None:
        self.config = config or RegistryConfig()
        self._user_agent = user_agent
        self._transport = Transport()
        self._tokens = Tokens()

    def repository(
        self, reference: Reference, credentials: Credentials | None = None, *, cancel: Cancel | None = None,
        notice: Callable[[str], None] = _silent, push: bool = False,
    ) -> Repository:  # fmt: skip
        """A repository, not asked anything yet. notice: is told of retries and of mirrors that fail, a line each. push: it will be written to."""
        exchange = self._exchange(credentials, cancel, notice)
        found: dict[Op, tuple[Endpoint, ...]] = {}

        def endpoints(op: Op) -> Sequence[Endpoint]:
            if op not in found:
                found[op] = self._endpoints(hosts(reference.domain, self.config, op))
            return found[op]

        return Repository(reference, endpoints, exchange, ("pull", "push") if push else ("pull",))

    def _exchange(self, credentials: Credentials | None, cancel: Cancel | None, notice: Callable[[str], None]) -> Exchange:
        return Exchange(self._transport, self._tokens, self.config, self._user_agent, credentials or Credentials(), cancel or Cancel(), notice)

    def _endpoints(self, found: Sequence[Host]) -> tuple[Endpoint, ...]:
        endpoints: list[Endpoint] = []
        for host in found:
            endpoints.append(Endpoint(host, host.url))
            if host.plain_http and host.url.startswith("https://"):
                endpoints.append(Endpoint(host, "http" + host.url.removeprefix("https")))
        return tuple(endpoints)
