"""`pierd`: the one place that constructs things, in the order in which they need each other, and takes them down again.

    SIGTERM, SIGINT   the daemon ends, containers and helpers go on; with live-restore false both are stopped first
    SIGQUIT           containers, helpers and daemon are stopped (what `make stop` sends)
    SIGHUP            daemon.json is read again: what can change does, the rest is named
    SIGUSR1           every task of the loop is written to the log
"""

import asyncio
import gc
import hashlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from pier.api.fields import DEFAULT_EXEC_ROOT, VERSION
from pier.archive.workers import Workers
from pier.containers import connect, freeze, labels, monitor, names_service, published, relink, restore, stop
from pier.containers import schema as containers_schema
from pier.containers import volumes as container_volumes
from pier.containers.commit import MARKS
from pier.containers.record import Container
from pier.containers.security import Profiles
from pier.containers.table import Containers, Defaults
from pier.containers.validate import Machine
from pier.content import ContentStore
from pier.daemon import confinement, keeper, listeners, process
from pier.daemon.config import Config, load, reloaded, told
from pier.daemon.dispatch import Dispatcher
from pier.daemon.engine import Engine
from pier.daemon.identity import daemon_id
from pier.daemon.initprogram import find_init
from pier.daemon.options import Flags, parse_flags, usage
from pier.daemon.registries import registry_config
from pier.daemon.relay import Relay
from pier.daemon.routes.table import ROUTES
from pier.errors import PierError
from pier.events import Journal
from pier.http.server import Server
from pier.images import Images
from pier.images import schema as images_schema
from pier.images.remote import Remote
from pier.logs.client import Pump
from pier.networks import NetworkConfig, Networks
from pier.networks import schema as networks_schema
from pier.runtime import ahead, defaults, facts, plan
from pier.runtime.supervisor import Supervisor
from pier.snapshots import Snapshots
from pier.store import Store
from pier.volumes import Plugins, Volumes, repairing
from pier.volumes import schema as volumes_schema
from pier.volumes.bin import Bin
from pier.volumes.copies import Copies

_log = logging.getLogger("pier.daemon")
_FORCED_EXITS = 3
_SWITCH_S = 0.001  # what the threads of database and network do at a time is far less: they need not wait for five
# Steps that a released daemon has taken: only ever appended to.
SCHEMAS = (
    images_schema.SCHEMA,
    networks_schema.SCHEMA,
    containers_schema.SCHEMA,
    images_schema.VARIANTS,
    images_schema.SOURCES,
    volumes_schema.SCHEMA,
    networks_schema.objects,
    volumes_schema.MOUNTS,
    networks_schema.PUBLISHED,
    volumes_schema.BEYOND,
    volumes_schema.TRASH,
    volumes_schema.PROJECTS,
)
VOLATILE_SCHEMAS = containers_schema.VOLATILE_STEPS


def instance_of(exec_root: Path) -> str:
    """The name that bridges, cgroups and firewall tables of this daemon carry: `pier`, or 8 hex of another exec root."""
    if exec_root == Path(DEFAULT_EXEC_ROOT):
        return "pier"
    return hashlib.sha256(str(exec_root).encode()).hexdigest()[:8]


def main() -> int:
    """The program. Returns its exit status: 0, or 1 with the reason on stderr."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["keeper"]:
        keeper.main(arguments[1:])
        return 0
    try:
        flags = parse_flags(arguments)
        if flags.help:
            print(usage(), end="")
            return 0
        if flags.version:
            print(f"Pier version {VERSION}")
            return 0
        config = load(flags)
        registry_config(config, os.environ)  # the environment's proxies are refused as early as the options
        if flags.validate:
            print("configuration OK", file=sys.stderr)
            return 0
        process.set_up_log(config.debug, config.log_level)
        process.check_host()
    except PierError as error:
        print(f"pierd: {error}", file=sys.stderr)
        return 1
    if sys.version_info < (3, 12):
        # the default watcher of 3.11 starts a thread for each child; from 3.12 on asyncio uses pidfds by itself
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    try:
        asyncio.run(serve(config, flags))
    except PierError as error:
        print(f"pierd: {error}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:  # of the host, or of PIER_FEATURES: what it names is enough for a user
        _log.debug("where the start failed", exc_info=error)
        print(f"pierd: cannot start: {error}", file=sys.stderr)
        return 1
    return 0


async def serve(config: Config, flags: Flags) -> None:
    """Be the daemon until a signal ends it. Raises PierError where it cannot start; what was begun is undone."""
    loop = asyncio.get_running_loop()
    sys.setswitchinterval(_SWITCH_S)
    asked: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1):
        loop.add_signal_handler(number, asked.put_nowait, number)
    async with AsyncExitStack() as undo:
        engine = await build(config, undo)
        gc.collect()
        gc.freeze()  # what is there now stays: a full collection of it is a pause of 10 ms and more in somebody's start
        listening = await open_sockets(engine, undo)
        process.notify("READY=1")
        _log.info("Pier %s is ready: API %s, layers %s", VERSION, ", ".join(str(path) for path in listening), engine.snapshots.kind)
        number = await _heed(asked, engine, flags)
        process.notify("STOPPING=1")
        _log.info("%s: the daemon ends", number.name)
        force = _Force(asked)
        try:
            await shut_down(engine, everything=number == signal.SIGQUIT or not engine.config.live_restore)
        finally:
            force.cancel()


async def _heed(asked: "asyncio.Queue[signal.Signals]", engine: Engine, flags: Flags) -> signal.Signals:
    """Act on signals until one ends the daemon."""
    while True:
        number = await asked.get()
        if number == signal.SIGHUP:
            reload(engine, flags)
        elif number == signal.SIGUSR1:
            dump_tasks()
        else:
            return number


class _Force:
    """The way out of an end that takes too long: three signals more, and the process is gone."""

    def __init__(self, asked: "asyncio.Queue[signal.Signals]") -> None:
        self._task = asyncio.get_running_loop().create_task(self._count(asked))
        self.cancel: Callable[[], object] = self._task.cancel

    async def _count(self, asked: "asyncio.Queue[signal.Signals]") -> None:
        for _ in range(_FORCED_EXITS):
            while await asked.get() not in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                pass
        _log.error("told to end %d times more: gone without cleaning up", _FORCED_EXITS)
        os._exit(1)


async def build(config: Config, undo: AsyncExitStack) -> Engine:
    """Construct the engine; `undo` gets what takes it down. Raises PierError."""
    process.raise_limits()
    process.make_room_for_descriptors()
    process.adjust_oom_score()
    _folder(config.exec_root, 0o711)
    pidfile = process.PidFile(config.pid_path)
    undo.callback(pidfile.remove)
    _folder(config.data_root, 0o710)
    _folder(config.data_root / "containers", 0o710)
    instance = instance_of(config.exec_root)

    store = Store.open(config.data_root / "state.db", SCHEMAS)
    undo.callback(store.close)
    volatile = Store.open(config.exec_root / "volatile.db", VOLATILE_SCHEMAS, volatile=True)
    undo.callback(volatile.close)
    journal = Journal()
    undo.callback(journal.close)
    host = facts.probe(instance, str(config.data_root))
    host.cgroups.prepare()

    relay = Relay()
    command = keeper.command(str(config.exec_root), instance)
    supervisor = await Supervisor.connect(config.exec_root, instance, command, relay.on_exit, relay.on_helper_lost)
    undo.callback(supervisor.close)
    pump = relay.pump = Pump(lambda: supervisor.helper("pump"))
    supervisor.listen("pump", pump.on_event)
    workers = Workers(supervisor)
    given = confinement.labelling() if config.selinux_enabled else None
    label = labels.shared(given.file) if given else ""
    snapshots = await Snapshots.open(config.data_root, supervisor, config.storage_driver, marks=MARKS, label=label)
    undo.callback(snapshots.close)
    remote = Remote(registry_config(config, os.environ), f"pier/{VERSION}")
    undo.callback(remote.close)
    images = Images(store, ContentStore(config.data_root / "content"), snapshots, workers, journal, remote)
    networks = Networks(store, journal, _network_config(config), instance)
    await networks.start()
    undo.push_async_callback(networks.stop)
    plugins = Plugins(config.volume_plugin_dirs, config.volume_plugin_timeout_s)
    volumes = Volumes(store, config.data_root / "volumes", journal, plugins)
    undo.callback(volumes.close)

    containers = Containers(
        data_root=config.data_root,
        exec_root=config.exec_root,
        boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        store=store,
        volatile=volatile,
        journal=journal,
        images=images,
        snapshots=snapshots,
        networks=networks,
        volumes=volumes,
        supervisor=supervisor,
        pump=pump,
        workers=workers,
        facts=host,
        defaults=Defaults(
            log_driver=config.log_driver,
            log_options=dict(config.log_opts),
            shm_size_bytes=config.default_shm_size_bytes,
            init=config.init,
            init_path=find_init(config.init_path),
        ),
        machine=Machine.read(host.cgroups),
        profiles=Profiles(host.machine, host.kernel, apparmor_default=confinement.apparmor_profile(host), seccomp_available=host.has(facts.SECCOMP)),
        labelling=given,
    )
    relay.containers = containers
    volume_bin = Bin(volumes, config.volume_trash_hours, config.volume_trash_bytes)
    copies = Copies(volumes, workers, containers.users_of_volume, containers.running_users_of_volume)
    engine = Engine(
        daemon_id(config.data_root), config, host, store, journal, images, snapshots, networks, volumes, copies, volume_bin, supervisor, pump,
        workers, containers, relay,
    )
    await restore_all(engine)
    for beside in (images.keep_tidy(), volume_bin.keep_tidy(), remote.get_ready()):
        undo.callback(asyncio.ensure_future(beside).cancel)
    return engine


async def restore_all(engine: Engine) -> None:
    """Compare records with what the kernel holds and repair both; each repair is a line in the log."""
    ctx = engine.containers
    await freeze.thaw_forgotten(ctx)
    await restore.restore(ctx)
    engine.relay.go()
    live = {container.id for container in ctx.table.values() if container.state.running}
    relink.attend(ctx)
    await engine.networks.reconcile(live)
    await connect.cut_unrecorded(ctx)
    held = set(engine.supervisor.held())
    await names_service.restored(ctx, held)
    await published.restored(ctx, held)
    for line in await repairing.repair(engine.volumes, ctx.running_users_of_volume):
        _log.info("%s", line)
    for volume, container_id in engine.volumes.forgotten(ctx.running_users_of_volume):
        ctx.spawn(container_volumes.unmount(ctx, volume, container_id), f"unmount {volume}")
    await engine.snapshots.repair(set(ctx.table))
    await engine.images.repair(ctx.users_of)
    # What ended while daemon and keeper were both gone has left its cgroups; the keeper's own are its janitor's.
    await engine.supervisor.sweep({container.id for container in ctx.table.values() if container.child is not None})
    ctx.ready.set()
    monitor.start(ctx)
    await engine.supervisor.make_ahead(default_steps(engine.facts, ctx.defaults.shm_size_bytes))


def default_steps(host: facts.HostFacts, shm_bytes: int) -> list[list[Any]]:
    """What most containers of this host begin with, for the children that are made ahead."""
    spec = defaults.default_spec(host, cgroups_path="any")
    spec = msgspec.structs.replace(spec, mounts=defaults.default_mounts(shm_bytes))
    return ahead.likely(plan.plan(spec, plan.Extras(root=plan.RootMount(lowers=("/",), upper="/", work="/")), host))


async def open_sockets(engine: Engine, undo: AsyncExitStack) -> list[Path]:
    """Listen on every socket of the configuration; returns their paths."""
    config = engine.config
    gid = listeners.group_id(config.group, given=config.group_given)
    made: list[tuple[socket.socket, Path, int]] = []
    undo.callback(listeners.remove, made)
    for path in config.hosts:
        sock = listeners.listen(path, gid)
        made.append((sock, path, os.lstat(path).st_ino))
    handler = Dispatcher(engine, ROUTES)
    for sock, _, _ in made:
        engine.servers.append(Server(sock, handler))
    return [path for _, path, _ in made]


async def shut_down(engine: Engine, *, everything: bool) -> None:
    """End what this process does; with `everything` containers and helpers too. The exit stack closes the rest."""
    ctx = engine.containers
    if everything:
        ctx.stopping = True
    else:
        engine.relay.containers = None  # who ends from now on is the next daemon's to record: the keeper keeps it
    closing = [asyncio.ensure_future(server.close(grace_s=2.0)) for server in engine.servers]
    if everything:
        await stop_containers(engine)
    monitor.close(ctx)
    engine.journal.close()
    await asyncio.gather(*closing)
    if ctx.tasks:
        await asyncio.wait(list(ctx.tasks), timeout=10)
    await ctx.running.flush()
    ctx.stopping = True
    if everything:
        await engine.supervisor.stop_helpers()


async def stop_containers(engine: Engine) -> None:
    """Stop every container within the shutdown timeout; what is left then is killed by `halt` itself."""
    ctx, limit_s = engine.containers, engine.config.shutdown_timeout_s
    # A held lock may be a start that is under way: `halt` waits for it, and stops what it brings up.
    running = [c for c in ctx.table.values() if c.state.running or c.state.restarting or c.lock.locked()]

    async def halt(container: Container) -> None:
        container.end_copy()
        own = container.record.config.stop_timeout
        wanted_s = own if isinstance(own, int) else limit_s
        await stop.halt(ctx, container, None, wanted_s if limit_s < 0 else min(wanted_s, limit_s) if wanted_s >= 0 else limit_s)

    for container, result in zip(running, await asyncio.gather(*map(halt, running), return_exceptions=True), strict=True):
        if isinstance(result, BaseException):
            _log.error("container %s could not be stopped: %s", container.id[:12], result)


def reload(engine: Engine, flags: Flags) -> None:
    """Read daemon.json again; a broken one changes nothing."""
    try:
        wanted = load(flags)
    except PierError as error:
        _log.error("configuration not reloaded: %s", error)
        return
    engine.config, changed, late = reloaded(engine.config, wanted)
    engine.images.remote.config = registry_config(engine.config, os.environ)
    process.set_up_log(engine.config.debug, engine.config.log_level)
    _log.info("configuration reloaded: %s", f"changed {', '.join(changed)}" if changed else "nothing changed")
    if late:
        _log.warning("configuration: %s changed, too: that needs a new start of the daemon", ", ".join(late))
    engine.journal.publish("daemon", "reload", engine.id, {"name": os.uname().nodename, **told(engine.config)})


def dump_tasks() -> None:
    """Where every task of the loop stands, into the log."""
    for task in asyncio.all_tasks():
        frames = task.get_stack(limit=4)
        where = " < ".join(f"{Path(f.f_code.co_filename).name}:{f.f_lineno} {f.f_code.co_name}" for f in reversed(frames))
        _log.info("task %s: %s", task.get_name(), where or "done")


def _folder(path: Path, mode: int) -> None:
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        os.chmod(path, mode)
    except OSError as error:
        raise process.cannot(f"{path}: {error.strerror}") from error


def _network_config(config: Config) -> NetworkConfig:
    return NetworkConfig(
        bip=config.bip, bridge=config.bridge, mtu=config.mtu, dns=config.dns, dns_opts=config.dns_opts, dns_search=config.dns_search,
        pools=config.default_address_pools, firewall=config.firewall, identity=daemon_id(config.data_root),
    )


if __name__ == "__main__":
    raise SystemExit(main())
