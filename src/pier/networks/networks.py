"""The networks of a daemon: start, attach, detach, repair. Runs on the loop; the kernel is asked in a thread of its own."""

import asyncio
import contextlib
import errno
import logging
import os
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import ParamSpec, TypeVar

from pier.api.models.networks import NetworkInspect
from pier.errors import Conflict, Invalid, NotFound, Unavailable
from pier.events import Journal
from pier.linux.netlink import NetlinkError
from pier.networks import files, leaving, repair, sysctls, views
from pier.networks.drivers import Driver, Port
from pier.networks.egress_guard import Egress
from pier.networks.endpoints import Endpoint, Wish, checked_mac, host_interface, random_mac
from pier.networks.firewall import Guard
from pier.networks.live import Live
from pier.networks.model import Network
from pier.networks.plumbing import Plumbing
from pier.networks.prepared import Making, Prepared
from pier.networks.published import Ports
from pier.networks.records import Records
from pier.networks.removals import Removals
from pier.networks.rules import Member
from pier.networks.setup import BridgeSetup, NetworkConfig
from pier.networks.spans import Spans
from pier.store import Store

P = ParamSpec("P")
T = TypeVar("T")
_log = logging.getLogger("pier.networks")
_DEFAULT_MTU = 1500
_PREDEFINED = (("bridge", "bridge"), ("host", "host"), ("none", "null"))


def names(instance: str) -> tuple[str, str]:
    """(bridge, nftables table) of an instance: "pier0" and "pier" by default, else with the instance's eight characters."""
    return ("pier0", "pier") if instance == "pier" else (f"pier-{instance[:8]}", f"pier-{instance}")


class Networks:
    """All networks. Construct it on the loop's thread, then `await start()`; `reconcile` once the live containers are known.

    Users' networks are made and removed by objects.py, what the kernel lost is repaired by repair.py.
    """

    def __init__(self, store: Store, journal: Journal, config: NetworkConfig, instance: str) -> None:
        """instance: "pier", or eight hex digits for an exec root of its own."""
        self.records = Records(store)
        self.journal = journal
        self.config = config
        own_bridge, table = names(instance)
        self.plumbing = Plumbing(table)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="networks")
        self.setup = BridgeSetup(config, own_bridge, self.mtu, self.records, self.plumbing, self.ask)
        self.live: dict[str, Live] = {}  # by ID, in the order of their making
        self.spans = Spans()
        self.endpoints: dict[str, dict[str, Endpoint]] = {}  # by container, by network
        self._unannounced: dict[tuple[str, str], asyncio.Future[None]] = {}  # places of containers not started yet: the writing of their leases
        self.plugging: dict[str, asyncio.Task[None]] = {}  # by endpoint
        self.releasing: dict[str, leaving.Releasing] = {}  # by endpoint
        self.leaving: dict[str, Endpoint] = {}  # by ID: the link may still be there, so its address is not free
        self.spaces: dict[str, int] = {}  # by endpoint: the namespace of a link that the host does not see, to delete it there
        self.ports = Ports(self)
        self.guard = Guard(self.plumbing, self.ask, self.spawn, table, self._members, lambda: self.ports.active, config.firewall)
        self.egress = Egress(self, table)
        self._tasks: set[asyncio.Task[None]] = set()
        self.removals = Removals(self)
        self.repairing = asyncio.Lock()
        self.changing = asyncio.Lock()  # one network is made at a time: each looks at the others' addresses
        self.prepared = Prepared(self._make_ahead)

    # -- life

    async def start(self) -> None:
        """Read the records, make or adopt the bridges and the rules. Raises PierError, NetlinkError, where the bridge network cannot be."""
        records = self.records
        if records.fact("boot_id") != (boot := sysctls.boot_id()):
            await records.forget_endpoints(boot)  # nothing runs any more, so no lease holds
        known = {network.name: network for network in records.networks()}
        for name, driver in _PREDEFINED:
            if name not in known:
                known[name] = Network(id=secrets.token_hex(32), name=name, created_ns=time.time_ns(), driver=driver)
                await records.save([known[name]])
        others = [network for network in known.values() if not network.predefined]
        default = known.pop("bridge")
        rows = records.endpoints()
        taken = [address for row in rows if row["network_id"] == default.id and (address := row["ipv4"])]
        if self.config.bridge == "none":
            await self.setup.remove(default, others)
        else:
            bridge, default = await self.setup.start(default, others)
            self.live[default.id] = Live(default, bridge, taken)
        for network in sorted(known.values(), key=lambda network: network.created_ns):
            self.live[network.id] = await repair.bring_up(self, network, rows)
        for row in rows:
            if row["network_id"] in self.live:
                self.endpoints.setdefault(row["container_id"], {})[row["network_id"]] = self.live[row["network_id"]].remembered(row)
        self.ports.load()
        if any(True for _ in self._members()):
            await self.guard.start()

    async def stop(self) -> None:
        """The daemon ends: containers, bridges, rules and ip_forward stay as they are."""
        self.guard.close()
        with contextlib.suppress(OSError):  # the next daemon deletes what is left
            await self.removals.flush()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.prepared.settle()
        await asyncio.to_thread(self._thread.shutdown)
        self.plumbing.close()
        while self.spaces:
            os.close(self.spaces.popitem()[1])

    def _members(self) -> Iterable[Member]:
        return (member for live in self.live.values() if not live.doomed and (member := live.member()))

    # -- containers

    def prepare(self, container_id: str, netns_fd: int) -> None:
        """Begin to make a container's veth ahead, in the background: when it was created and waits in its namespace for its start on the bridge.

        netns_fd: duplicated. `attach` takes it where container and namespace are the same; it dies with the namespace otherwise.
        """
        if self._default is not None:
            self.prepared.begin(container_id, netns_fd, self.mtu)

    def forget(self, container_id: str) -> None:
        """A prepared container will not start on the bridge: its namespace ends."""
        self.prepared.forget(container_id)

    async def _make_ahead(self, port: Port) -> None:
        assert self._default is not None and self._default.bridge is not None
        await self.ask(self.plumbing.bridges.join, self._default.bridge, port)

    async def attach(
        self, container_id: str, network: str, netns_fd: int, *, hostname: str = "", mac: str | None = None, wish: Wish | None = None
    ) -> Endpoint:  # fmt: skip
        """`begin_attach`, wait until it is through, and `announce`."""
        if wish is not None:
            await leaving.vacated(self, network, wish)
        endpoint, plugged = self.begin_attach(container_id, network, netns_fd, mac=mac, wish=wish)
        try:
            await asyncio.shield(plugged)
            await self.announce(container_id)
        except asyncio.CancelledError:
            await self.detach(container_id, endpoint.network_id)  # once the kernel is through with it
            raise
        return endpoint

    def begin_attach(
        self, container_id: str, network: str, netns_fd: int, *, mac: str | None = None, wish: Wish | None = None
    ) -> "tuple[Endpoint, asyncio.Future[None]]":  # fmt: skip
        """Give a container its place in a network: what it will have, and the kernel's part, which is to be awaited (shielded).

        network: a name or ID. netns_fd: of the container's network namespace; not looked at for host and none, duplicated.
        wish: what the user asks for; mac: the same for its MAC alone, None or "" for a random one.
        The child then calls `configure_inside`; before its execve comes `announce`, until which nobody hears of it, and after it `settle`.
        A second attach to a network ends the first; whoever gives up calls `detach`.
        Raises NotFound for another network, Invalid for a bad MAC or address, Conflict for an address that is taken,
        Unavailable where addresses are used up; the future Unavailable where ports are.
        """
        live = self.find(network)
        if live.doomed:
            raise NotFound(f"network {network} not found")
        self._leave(container_id, live.network.id)
        driver = self.driver(live.network)
        if live.base is None:
            if live.network.config_only:
                raise Conflict(f"network {live.network.name} is a configuration: no container can be in it")
            if driver.addressed:
                raise Unavailable(f"network {live.network.name} has no link: the daemon's log says why; mend it, start the daemon again")
            endpoint = Endpoint(live.network.name, live.network.id, secrets.token_hex(32))
            self._connected(container_id, endpoint)
            return endpoint, asyncio.ensure_future(asyncio.sleep(0))
        wish = wish or Wish(mac=mac or "")
        if wish.mac and live.network.driver == "ipvlan":
            raise Invalid("ipvlan interfaces do not support custom mac address assignment")
        if wish.mac:
            wish = replace(wish, mac=checked_mac(wish.mac))
        making = self.prepared.take(container_id, netns_fd) if live is self._default and wish.interface == "eth0" else None
        endpoint_id = making.ahead.endpoint_id if making else secrets.token_hex(32)
        mac = wish.mac or (making.ahead.mac if making else "" if live.network.driver == "ipvlan" else random_mac())
        endpoint = live.endpoint(endpoint_id, wish, live.lease(wish), mac, host_interface(endpoint_id) if driver.hosted else "")
        self._connected(container_id, endpoint)
        if not driver.hosted:
            self.spaces[endpoint_id] = os.dup(netns_fd)
        plugged = asyncio.get_running_loop().create_task(self._plug_in(live, self.port(live, endpoint, os.dup(netns_fd)), making))
        self.plugging[endpoint_id] = plugged
        plugged.add_done_callback(lambda done: self._plugged(container_id, endpoint, done))
        return endpoint, plugged

    async def _plug_in(self, live: Live, port: Port, making: Making | None) -> None:
        assert live.base is not None
        try:
            if making is not None:
                with contextlib.suppress(OSError):  # made below then, which says what is wrong
                    await making.task
                    if self.plumbing.bridges.stands(live.base, port.host_interface):
                        return
            await self._plug(live, port, made=making is not None)
        finally:
            os.close(port.netns_fd)

    def _plugged(self, container_id: str, endpoint: Endpoint, done: "asyncio.Future[None]") -> None:
        """One that failed is no endpoint; the failure is who waits for it's to tell."""
        self.plugging.pop(endpoint.endpoint_id, None)
        failed = done.cancelled() or done.exception() is not None
        if failed and self.endpoints.get(container_id, {}).get(endpoint.network_id) is endpoint:
            self._leave(container_id, endpoint.network_id)

    def port(self, live: Live, endpoint: Endpoint, netns_fd: int = -1) -> Port:
        """The link of an endpoint."""
        mtu = live.network.mtu or (self.mtu if endpoint.host_interface else 0)
        return Port(endpoint.host_interface, netns_fd, endpoint.addresses, endpoint.mac, mtu, endpoint.interface, isolated=not live.network.icc)

    async def _plug(self, live: Live, port: Port, *, made: bool) -> None:
        assert live.base is not None
        bridges, driver = self.plumbing.bridges, self.driver(live.network)
        try:
            await self.ask(bridges.claim if made else driver.join, live.base, port)
        except NetlinkError as error:
            if error.errno not in (errno.EINVAL, errno.ENODEV):
                raise
            # Somebody may have deleted the bridge.
            await repair.repair(self)
            await self.ask(bridges.reclaim if made else driver.join, live.base, port)

    def _connected(self, container_id: str, endpoint: Endpoint) -> None:
        self.endpoints.setdefault(container_id, {})[endpoint.network_id] = endpoint
        self._unannounced[container_id, endpoint.network_id] = asyncio.ensure_future(self.records.add(container_id, endpoint))

    async def announce(self, container_id: str) -> None:
        """The container runs, or is started next: its leases are written when this returns, and its networks tell of it."""
        for key in [key for key in self._unannounced if key[0] == container_id]:
            await asyncio.shield(self._unannounced[key])
            if self._unannounced.pop(key, None) is not None:
                self._publish("connect", container_id, self.endpoints[container_id][key[1]])

    def _publish(self, action: str, container_id: str, endpoint: Endpoint) -> None:
        live = self.live.get(endpoint.network_id)
        attributes = {"container": container_id, "name": endpoint.network, "type": live.network.driver if live else endpoint.network}
        self.journal.publish("network", action, endpoint.network_id, attributes)

    async def settle(self, container_id: str) -> None:
        """After the container's execve: without it the first packets of one container in twenty are lost for a second. Never fails."""
        places = [(live, e) for e in self.endpoints_of(container_id) if e.host_interface and (live := self.live.get(e.network_id))]
        ports = [(live.bridge, self.port(live, endpoint)) for live, endpoint in places if live.bridge]
        try:
            await self.ask(self.plumbing.bridges.settle, ports)
        except OSError as error:
            _log.debug("links of container %s could not be settled: %s", container_id[:12], error)

    async def detach(self, container_id: str, network_id: str = "", *, cut: bool = False, netns_fd: int = -1) -> None:
        """End a container's place in a network, or in all: when it has exited. Does not wait for the kernel, nor for the disk.

        Its address is given to nobody else until its link is gone. cut: the container runs on: the link is deleted. No endpoint: nothing to do.
        netns_fd: its namespace, which has to be known for a link that only exists there; duplicated.
        """
        if not network_id:
            await self.ports.close(container_id)
        for endpoint in self._left(container_id, network_id):
            if netns_fd >= 0 and endpoint.interface and not endpoint.host_interface and endpoint.endpoint_id not in self.spaces:
                self.spaces[endpoint.endpoint_id] = os.dup(netns_fd)
            if cut:
                await leaving.release(self, container_id, endpoint, cut=True)
            else:
                self.spawn(leaving.release_soon(self, container_id, endpoint))

    def _leave(self, container_id: str, network_id: str) -> None:
        for endpoint in self._left(container_id, network_id):
            self.spawn(leaving.release_soon(self, container_id, endpoint))

    def _left(self, container_id: str, network_id: str) -> list[Endpoint]:
        """End places for everybody but the kernel and the disk: they are to be released."""
        places = self.endpoints.get(container_id, {})
        left = [places[network_id]] if network_id in places else [] if network_id else list(places.values())
        for endpoint in left:
            del places[endpoint.network_id]
            written = self._unannounced.pop((container_id, endpoint.network_id), None)
            if written is None:
                self._publish("disconnect", container_id, endpoint)
            else:
                written.add_done_callback(lambda done: done.cancelled() or done.exception())
            if endpoint.interface:
                self.leaving[endpoint.endpoint_id] = endpoint
        if not places:
            self.endpoints.pop(container_id, None)
        return left

    async def reconcile(self, live: set[str]) -> None:
        """At start, once the live containers are known: release what the dead held, repair what the kernel lost. Each repair is a line in the log."""
        await repair.reconcile(self, live)
        await self.egress.start()

    # -- answers

    def driver(self, network: Network) -> Driver:
        """What stands behind a network."""
        return self.plumbing.drivers[network.driver]

    def find(self, network: str) -> Live:
        """A network by name, ID or unique prefix of an ID. Raises NotFound, Conflict (several have that prefix)."""
        for live in self.live.values():
            if live.network.name == network:
                return live
        if network in self.live:
            return self.live[network]
        found = [live for identity, live in self.live.items() if network and identity.startswith(network)]
        if len(found) > 1:
            raise Conflict(f"network {network} is ambiguous ({len(found)} matches found on ID prefix)")
        if not found:
            raise NotFound(f"network {network} not found")
        return found[0]

    def network_id(self, name: str) -> str:
        """The ID of a network, "" where there is none."""
        return next((live.network.id for live in self.live.values() if live.network.name == name), "")

    def endpoints_of(self, container_id: str) -> tuple[Endpoint, ...]:
        """What a running container has, in the order of its interfaces; after a restart of the daemon too."""
        found = self.endpoints.get(container_id, {}).values()
        return tuple(sorted(found, key=lambda endpoint: (len(endpoint.interface), endpoint.interface)))

    def host_gateway(self) -> str | None:
        """The host's address on the bridge, for `--add-host name:host-gateway`; None without a bridge network."""
        return self._default.network.subnets[0].gateway if self._default else None

    @property
    def _default(self) -> Live | None:
        first = next(iter(self.live.values()), None)
        return first if first is not None and first.network.name == "bridge" else None

    @property
    def warnings(self) -> list[str]:
        """What about this host may surprise the user, for `info`."""
        return [*self.guard.warnings, *self.guard.clashes]

    @property
    def mtu(self) -> int:
        """Of the bridge and of each container's eth0, bytes."""
        return self.config.mtu or _DEFAULT_MTU

    def list_networks(self, filters: Mapping[str, Sequence[str]], used: Iterable[str] = ()) -> list[NetworkInspect]:
        """GET /networks. used: IDs of networks that containers have, running or not. Raises Invalid for a filter that Docker refuses."""
        chosen = views.choose([live.network for live in self.live.values()], filters, set(used))
        return [views.describe(network, self.mtu, {}, str) for network in chosen]

    def inside(self, network_id: str) -> dict[str, Endpoint]:
        """The endpoints of a network, by container."""
        here = {container: places[network_id] for container, places in self.endpoints.items() if network_id in places}
        return {container: endpoint for container, endpoint in here.items() if (container, network_id) not in self._unannounced}

    def inspect(self, name: str, scope: str = "", container_name: Callable[[str], str] = str) -> NetworkInspect:
        """GET /networks/{name}. container_name: gives a container's name for its ID. Raises NotFound."""
        network = self.find(name).network
        if scope not in ("", "local"):
            raise NotFound(f"network {name} not found")
        return views.describe(network, self.mtu, self.inside(network.id), container_name)

    def resolv_conf(
        self, *, dns: Sequence[str] = (), search: Sequence[str] = (), options: Sequence[str] = (), host_network: bool = False,
        embedded: bool = False,
    ) -> str:
        """A container's resolv.conf: its own settings, else the daemon's, else the host's. Raises Invalid for a bad name server."""
        path = "/etc/resolv.conf" if host_network or embedded else files.host_resolv_path()
        config = self.config
        return files.resolv_conf(
            files.host_resolv_text(path), dns=dns or config.dns, search=search or config.dns_search, options=options or config.dns_opts,
            host_network=host_network, path=path, embedded=embedded,
        )  # fmt: skip

    # -- for the files of this package

    async def ask(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking function in the thread for the kernel; calls are carried out in order."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(function, *args, **kwargs))

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Do something in the background; what fails is a line in the log."""
        task = asyncio.get_running_loop().create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _logged(work: Coroutine[object, object, None]) -> None:
    try:
        await work
    except Exception as error:
        _log.warning("a repair or release of a network failed; the next start of the daemon tries again: %s", error)
