"""A daemon that is killed while it sets its network up: the next one finds or makes everything."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pier import trace
from pier.linux.rtnetlink import Routing
from pier.networks.rules import CONSTANT_RULES

from .isolated import Namespace, answer, ask
from .stage import containers, daemon, run
from .test_firewall import own_rules

POINTS = ("store.migrate", "store.commit", "store.committed", "networks.bridge", "networks.forward", "networks.rules")


def _killed_daemon(root: Path, point: str) -> None:
    """Start a daemon with an armed failpoint, in a process of its own that must die of it."""
    pid = os.fork()
    if not pid:
        try:
            trace.configure(f"{point}:kill")

            async def main() -> None:
                async with daemon(root):
                    pass

            run(main())
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9, f"{point} was never passed"


@pytest.mark.parametrize("point", POINTS)
def test_the_next_daemon_has_a_whole_network(point: str) -> None:
    def body() -> None:
        Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
        with TemporaryDirectory() as folder:
            root = Path(folder)
            _killed_daemon(root, point)

            async def main() -> None:
                async with daemon(root) as d, containers(d.networks) as (c,):
                    await d.networks.reconcile({c.id})
                    assert own_rules() == CONSTANT_RULES
                    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
                    assert d.networks.host_gateway() == "172.17.0.1"
                    served = c.namespace.start(answer, c.address, 7)
                    assert ask(c.address, 7)
                    served()
                routing = Routing()
                assert [link.name for link in routing.links() if link.kind == "bridge"] == ["pier0"]
                routing.close()

            run(main())

    with Namespace() as host:
        host(body)
