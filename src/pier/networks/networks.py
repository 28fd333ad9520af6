"""The networks of a daemon: start, attach, detach, repair. Runs on the loop; the kernel is asked in a thread of its own."""

import asyncio
import errno
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address
from typing import ParamSpec, TypeVar

from pier.api.models.networks import NetworkInspect
from pier.errors import NotFound
from pier.events import Journal
from pier.linux.netlink import NetlinkError
from pier.networks import files, pools, sysctls, views
from pier.networks.endpoints import Endpoint, checked_mac, host_interface, random_mac
from pier.networks.plumbing import Bridge, Plumbing, Port
from pier.networks.prepared import Ahead, Prepared
from pier.networks.records import NetworkRecord, Records
from pier.networks.rules import BridgeRules
from pier.networks.setup import BridgeSetup, NetworkConfig
from pier.networks.watch import FirewallWatch
from pier.store import Store

P = ParamSpec("P")
T = TypeVar("T")
_log = logging.getLogger("pier.networks")
_DEFAULT_MTU = 1500
_SWEEP_S = (0.06, 0.15, 0.4, 0.9)  # how often to look whether a veth is gone, before it is deleted


def names(instance: str) -> tuple[str, str]:
    """(bridge, nftables table) of an instance: "pier0" and "pier" by default, else with the instance's eight characters."""
    return ("pier0", "pier") if instance == "pier" else (f"pier-{instance[:8]}", f"pier-{instance}")


class Networks:
    """bridge, host and none. Construct it on the loop's thread, then `await start()`; `reconcile` once the live containers are known."""

    def __init__(self, store: Store, journal: Journal, config: NetworkConfig, instance: str) -> None:
        """instance: "pier", or eight hex digits for an exec root of its own."""
        self._records = Records(store)
        self._journal = journal
        self._config = config
        self._own_bridge, self._table = names(instance)
        self._plumbing = Plumbing(self._table)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="networks")
        self._networks: dict[str, NetworkRecord] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._leaving: dict[str, Endpoint] = {}  # by host interface: the veth may still be there, so its address is not free
        self._bridge: Bridge | None = None
        self._pool: pools.AddressPool | None = None
        self._watch: FirewallWatch | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._repairing = asyncio.Lock()
        self._prepared = Prepared(self._make_ahead)
        self.warnings: list[str] = []

    # -- life

    async def start(self) -> None:
        """Read the records, make or adopt the bridge and the rules. Raises PierError, NetlinkError, where the bridge network cannot be."""
        records = self._records
        if records.fact("boot_id") != (boot := sysctls.boot_id()):
            await records.forget_endpoints(boot)  # nothing runs any more, so no lease holds
        self._networks = {record.name: record for record in records.networks()}
        for name, driver in (("bridge", "bridge"), ("host", "host"), ("none", "null")):
            if name not in self._networks:
                self._networks[name] = NetworkRecord(name, secrets.token_hex(32), time.time_ns(), driver, "", "")
        await records.save(self._networks.values())
        setup = BridgeSetup(self._config, self._own_bridge, self.mtu, records, self._plumbing, self._ask)
        if self._config.bridge == "none":
            await setup.remove(self._networks.pop("bridge"))
        else:
            self._bridge, self._networks["bridge"] = await setup.start(self._networks["bridge"])
        self._endpoints = dict(records.endpoints({name: record.id for name, record in self._networks.items()}, self._bridge))
        if self._bridge is not None:
            addresses = [IPv4Address(endpoint.address) for endpoint in self._endpoints.values() if endpoint.address]
            self._pool = pools.AddressPool(self._bridge.interface, addresses)
            self._watch = FirewallWatch(self._firewall_changed, but_port=self._plumbing.firewall_port)
            await self._repair_rules()

    async def stop(self) -> None:
        """The daemon ends: containers, bridge, rules and ip_forward stay as they are."""
        if self._watch is not None:
            self._watch.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._prepared.settle()
        await asyncio.to_thread(self._thread.shutdown)
        self._plumbing.close()

    # -- containers

    def prepare(self, container_id: str, netns_fd: int) -> None:
        """Begin to make a container's veth ahead, in the background: when it was created and waits in its namespace for its start on the bridge.

        netns_fd: duplicated. `attach` takes it where container and namespace are the same; it dies with the namespace otherwise.
        """
        if self._bridge is not None:
            self._prepared.begin(container_id, netns_fd, self.mtu)

    def forget(self, container_id: str) -> None:
        """A prepared container will not start on the bridge: its namespace ends."""
        self._prepared.forget(container_id)

    async def _make_ahead(self, port: Port) -> None:
        assert self._bridge is not None
        await self._ask(self._plumbing.plug, self._bridge, port)

    async def attach(self, container_id: str, network: str, netns_fd: int, *, hostname: str = "", mac: str | None = None) -> Endpoint:
        """Give a container its place in a network, before it runs; under a millisecond on an idle machine.

        network: "bridge", "host" or "none". netns_fd: of the container's network namespace; only looked at for bridge, not kept.
        hostname: for the name service of user networks; the predefined ones have none. mac: as the user wants it, None or "" for a random one.
        The child then calls `configure_inside`, and after its execve comes `settle`. A second attach of a container ends its first.
        Raises NotFound for another network, Invalid for a bad MAC, Unavailable where addresses or ports are used up.
        """
        record = self.record(network)
        if container_id in self._endpoints:
            await self.detach(container_id)
        if record.driver != "bridge":
            endpoint = Endpoint(network, record.id, secrets.token_hex(32))
            await self._records.add(container_id, endpoint)
            self._connected(container_id, endpoint)
            return endpoint
        given = checked_mac(mac) if mac else ""
        ahead = await self._prepared.take(container_id, netns_fd)
        task = asyncio.ensure_future(self._plug_in(container_id, record, netns_fd, given, ahead))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # Who started the container has given up, but the kernel is at work already: let it finish, then take it back.
            task.add_done_callback(partial(self._take_back, container_id))
            raise

    def _take_back(self, container_id: str, task: "asyncio.Future[Endpoint]") -> None:
        if not task.cancelled() and task.exception() is None and self._endpoints.get(container_id) is task.result():
            self._spawn(self.detach(container_id))

    async def _plug_in(self, container_id: str, record: NetworkRecord, netns_fd: int, mac: str, ahead: Ahead | None) -> Endpoint:
        assert self._bridge is not None and self._pool is not None
        bridge, pool = self._bridge, self._pool
        endpoint_id = ahead.endpoint_id if ahead else secrets.token_hex(32)
        mac = mac or (ahead.mac if ahead else random_mac())
        address = pool.take()
        endpoint = Endpoint(
            network=record.name, network_id=record.id, endpoint_id=endpoint_id, interface="eth0", address=str(address),
            prefix_len=bridge.interface.network.prefixlen, gateway=str(bridge.interface.ip), mac=mac,
            host_interface=host_interface(endpoint_id), gateway_mac=bridge.mac,
        )  # fmt: skip
        port = Port(endpoint.host_interface, netns_fd, endpoint.address, mac, self.mtu)
        saved, plugged = await asyncio.gather(
            self._records.add(container_id, endpoint), self._plug(bridge, port, made=ahead is not None), return_exceptions=True
        )
        failure = plugged if isinstance(plugged, BaseException) else saved if isinstance(saved, BaseException) else None
        if failure is not None:
            self._endpoints.pop(container_id, None)
            self._leaving[endpoint.host_interface] = endpoint
            self._spawn(self._release(container_id, endpoint))
            raise failure
        self._connected(container_id, endpoint)
        return endpoint

    async def _plug(self, bridge: Bridge, port: Port, *, made: bool) -> None:
        try:
            await self._ask(self._plumbing.claim if made else self._plumbing.plug, bridge, port)
        except NetlinkError as error:
            if error.errno not in (errno.EINVAL, errno.ENODEV):
                raise
            # Somebody may have deleted the bridge.
            await self.repair()
            await self._ask(self._plumbing.reclaim if made else self._plumbing.plug, self._bridge or bridge, port)

    def _connected(self, container_id: str, endpoint: Endpoint) -> None:
        self._endpoints[container_id] = endpoint
        self._publish("connect", container_id, endpoint)

    def _publish(self, action: str, container_id: str, endpoint: Endpoint) -> None:
        driver = self._networks[endpoint.network].driver if endpoint.network in self._networks else endpoint.network
        attributes = {"container": container_id, "name": endpoint.network, "type": driver}
        self._journal.publish("network", action, endpoint.network_id, attributes)

    async def settle(self, container_id: str) -> None:
        """After the container's execve: without it the first packets of one container in twenty are lost for a second. Never fails."""
        endpoint, bridge = self._endpoints.get(container_id), self._bridge
        if endpoint is None or bridge is None or not endpoint.host_interface:
            return
        try:
            await self._ask(self._plumbing.settle, bridge, endpoint.host_interface)
        except OSError as error:
            _log.debug("link %s could not be asked for: %s", endpoint.host_interface, error)

    async def detach(self, container_id: str) -> None:
        """End a container's place in its network: when it has exited. Does not wait for the kernel, nor for the disk; no endpoint: nothing to do.

        Its address is given to nobody else until its veth is gone.
        """
        endpoint = self._endpoints.pop(container_id, None)
        if endpoint is None:
            return
        self._publish("disconnect", container_id, endpoint)
        if endpoint.host_interface:
            self._leaving[endpoint.host_interface] = endpoint
        self._spawn(self._release(container_id, endpoint))

    async def _release(self, container_id: str, endpoint: Endpoint) -> None:
        await self._records.remove(container_id, endpoint.endpoint_id)
        if not endpoint.host_interface:
            return
        gone = await self._ask(self._plumbing.unplug, self._bridge, endpoint.address, endpoint.host_interface)
        for delay_s in _SWEEP_S:
            if gone:
                break
            await asyncio.sleep(delay_s)
            gone = bool(await self._ask(self._plumbing.gone, [endpoint.host_interface]))
        if not gone:
            # Another container shares the network namespace and keeps it alive; its first owner is gone, as is its address.
            await self._ask(self._plumbing.delete_link, endpoint.host_interface)
        self._leaving.pop(endpoint.host_interface, None)
        if self._pool is not None:
            self._pool.give_back(IPv4Address(endpoint.address))

    # -- repair

    async def reconcile(self, live: set[str]) -> None:
        """At start, once the live containers are known: release what the dead held, repair what the kernel lost. Each repair is a line in the log."""
        for container_id in [container_id for container_id in self._endpoints if container_id not in live]:
            _log.info("container %s is gone: its place in network %s is released", container_id[:12], self._endpoints[container_id].network)
            await self.detach(container_id)
        await self.repair()
        if self._bridge is None:
            return
        known = {endpoint.host_interface for endpoint in self._endpoints.values()} | set(self._leaving) | self._prepared.names()
        for name, link in (await self._ask(self._plumbing.ports, self._bridge)).items():
            if name not in known and link.master == self._bridge.index:
                await self._ask(self._plumbing.delete_link, name)
                _log.info("link %s belonged to no container: deleted", name)

    async def repair(self) -> None:
        """Make the bridge and the rules as they should be, and put the containers' links into the bridge again. Raises what prevents it."""
        if self._bridge is not None and not self._config.bridge:
            async with self._repairing:
                bridge, made = await self._ask(self._plumbing.ensure_bridge, self._bridge.name, self._bridge.interface, self.mtu)
                self._bridge = bridge
                if made:
                    _log.warning("bridge %s was gone: made again", bridge.name)
                await self._replug(bridge)
        await self._repair_rules()

    async def _replug(self, bridge: Bridge) -> None:
        ports = await self._ask(self._plumbing.ports, bridge)
        wanted = [(endpoint.host_interface, endpoint.address, endpoint.mac) for endpoint in self._endpoints.values()]
        for name, address, mac in [*wanted, *((name, "", "") for name in self._prepared.names())]:
            link = ports.get(name)
            if link is not None and link.master != bridge.index:
                await self._ask(self._plumbing.replug, bridge, link, address, mac)
                _log.warning("link %s was in no bridge: put into %s", link.name, bridge.name)

    async def _repair_rules(self) -> None:
        if self._bridge is None:
            return
        wanted = BridgeRules(self._table, self._bridge.name, str(self._bridge.interface.network))
        for words in await self._ask(self._plumbing.ensure_rules, wanted):
            _log.info("%s", words)
        found = sysctls.warnings(self._bridge.name)
        for chain in await self._ask(self._plumbing.foreign_drops):
            found.append(f"the firewall chain {chain!r} drops forwarded packets: accept those from and to {self._bridge.name} there")
        if await self._ask(self._plumbing.docker_is_here):
            found.append("another engine's firewall rules (DOCKER-USER) are on this host: they apply to Pier's containers too")
        for words in found:
            if words not in self.warnings:
                _log.warning("%s", words)
        self.warnings = found

    def _firewall_changed(self) -> None:
        self._spawn(self._repair_rules())

    # -- answers

    def record(self, network: str) -> NetworkRecord:
        """A network by name, ID or unique prefix of an ID. Raises NotFound."""
        if network in self._networks:
            return self._networks[network]
        found = [record for record in self._networks.values() if network and record.id.startswith(network)]
        if len(found) != 1:
            raise NotFound(f"network {network} not found")
        return found[0]

    def network_id(self, name: str) -> str:
        """The ID of a network, "" where there is none."""
        record = self._networks.get(name)
        return record.id if record else ""

    def endpoint(self, container_id: str) -> Endpoint | None:
        """What a running container has; after a restart of the daemon too."""
        return self._endpoints.get(container_id)

    def host_gateway(self) -> str | None:
        """The host's address on the bridge, for `--add-host name:host-gateway`; None without a bridge network."""
        return str(self._bridge.interface.ip) if self._bridge else None

    @property
    def mtu(self) -> int:
        """Of the bridge and of each container's eth0, bytes."""
        return self._config.mtu or _DEFAULT_MTU

    def list_networks(self, filters: Mapping[str, Sequence[str]]) -> list[NetworkInspect]:
        """GET /networks. Raises Invalid for a filter that Docker refuses."""
        chosen = views.choose(list(self._networks.values()), filters)
        return [views.describe(record, self.mtu, {}, str) for record in chosen]

    def inspect(self, name: str, scope: str = "", container_name: Callable[[str], str] = str) -> NetworkInspect:
        """GET /networks/{name}. container_name: gives a container's name for its ID. Raises NotFound."""
        record = self.record(name)
        if scope not in ("", "local"):
            raise NotFound(f"network {name} not found")
        inside = {container: endpoint for container, endpoint in self._endpoints.items() if endpoint.network == record.name}
        return views.describe(record, self.mtu, inside, container_name)

    def resolv_conf(
        self, *, dns: Sequence[str] = (), search: Sequence[str] = (), options: Sequence[str] = (), host_network: bool = False
    ) -> str:
        """A container's resolv.conf: its own settings, else the daemon's, else the host's. Raises Invalid for a bad name server."""
        path = "/etc/resolv.conf" if host_network else files.host_resolv_path()
        config = self._config
        return files.resolv_conf(
            files.host_resolv_text(path), dns=dns or config.dns, search=search or config.dns_search, options=options or config.dns_opts,
            host_network=host_network, path=path,
        )  # fmt: skip

    # -- inner

    async def _ask(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(function, *args, **kwargs))

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _logged(work: Coroutine[object, object, None]) -> None:
    try:
        await work
    except Exception as error:
        _log.warning("a repair or release of a network failed; the next start of the daemon tries again: %s", error)
