"""Everything about one container."""

import msgspec
from msgspec import UNSET

from pier.api.models.containers import ContainerConfig, ContainerInspect, ContainerState, GraphDriver, HealthcheckResult, HealthState, NetworkSettings
from pier.api.models.networks import EndpointSettings
from pier.containers import links, naming
from pier.containers.health import Health
from pier.containers.phrases import rfc3339
from pier.containers.record import Container, Record
from pier.containers.table import Containers
from pier.networks import ports


async def inspect(ctx: Containers, name: str, size: bool = False) -> ContainerInspect:
    """The answer of GET /containers/{id}/json. Raises NotFound."""
    container = ctx.find(name)
    record, folder = container.record, ctx.folder(container.id)
    started = container.state.ever_started
    files = {kind: str(folder / kind) if started else "" for kind in ("resolv.conf", "hostname", "hosts")}
    writable = ctx.snapshots.usage(container.id) if size else 0
    root = writable + sum(sum(ctx.snapshots.layers.size(d)[:1]) for d in record.diff_ids) if size else 0
    return ContainerInspect(
        id=record.id,
        created=rfc3339(record.created_ns),
        path=record.path,
        args=record.args,
        state=state(container),
        image=record.image_id,
        resolv_conf_path=files["resolv.conf"],
        hostname_path=files["hostname"],
        hosts_path=files["hosts"],
        log_path=ctx.log_path(container) if started else "",
        name="/" + record.name,
        restart_count=container.state.restart_count,
        driver=ctx.snapshots.driver,
        platform=record.platform,
        mount_label=record.mount_label,
        process_label=record.process_label,
        app_armor_profile=ctx.apparmor_profile(record),
        exec_ids=sorted(container.execs) or None,
        host_config=msgspec.structs.replace(record.host, links=links.shown(ctx, record)) if record.host.links else record.host,
        graph_driver=GraphDriver(name=ctx.snapshots.driver, data=ctx.snapshots.describe(record.id)),
        size_rw=writable if size else UNSET,
        size_root_fs=root if size else UNSET,
        mounts=record.mounts,
        config=shown_config(record),
        network_settings=network_settings(ctx, container),
    )


def shown_config(record: Record) -> ContainerConfig:
    """The `Config` object: with the MAC address that was asked for in the network that the container's mode names, for old clients."""
    given = record.endpoints.get(record.host.network_mode)
    return msgspec.structs.replace(record.config, mac_address=given.mac_address) if given and given.mac_address else record.config


def state(container: Container) -> ContainerState:
    """The `State` object. While a restart is waited for a container counts as running, as in Docker."""
    now = container.state
    return ContainerState(
        status=now.status,
        running=now.running or now.restarting,
        paused=now.paused,
        restarting=now.restarting,
        oom_killed=now.oom_killed,
        dead=now.status == "dead",
        pid=now.pid if now.running else 0,
        exit_code=now.exit_code,
        error=now.error,
        started_at=rfc3339(now.started_ns),
        finished_at=rfc3339(now.finished_ns),
        health=health_state(now.health) if now.health is not None else UNSET,
    )


def health_state(now: Health) -> HealthState:
    """The `Health` object."""
    log = [HealthcheckResult(rfc3339(one.start_ns), rfc3339(one.end_ns), one.exit_code, one.output) for one in now.log]
    return HealthState(status=now.status, failing_streak=now.failing_streak, log=log)


def endpoints(ctx: Containers, container: Container) -> dict[str, EndpointSettings]:
    """The networks of a container, with addresses while it runs."""
    found = {}
    places = {endpoint.network_id: endpoint for endpoint in container.places} if container.state.running else {}
    for name, given in container.record.endpoints.items():
        identity = given.network_id or (ctx.networks.network_id(name) if container.state.ever_started else "")
        dns_names = naming.dns_names(container.record, name)
        endpoint = places.get(identity or ctx.networks.network_id(name)) if places else None
        if endpoint is None:
            found[name] = msgspec.structs.replace(given, network_id=identity, dns_names=dns_names)
        else:
            found[name] = msgspec.structs.replace(
                given,
                dns_names=dns_names,
                network_id=endpoint.network_id,
                endpoint_id=endpoint.endpoint_id,
                gateway=endpoint.gateway,
                ip_address=endpoint.address,
                ip_prefix_len=endpoint.prefix_len,
                mac_address=endpoint.mac,
                ipv6_gateway=endpoint.gateway6,
                global_ipv6_address=endpoint.address6,
                global_ipv6_prefix_len=endpoint.prefix_len6,
            )
    return found


def network_settings(ctx: Containers, container: Container) -> NetworkSettings:
    """The `NetworkSettings` object; the old fields at its top speak of the bridge network, as in Docker."""
    networks = endpoints(ctx, container)
    settings = NetworkSettings(networks=networks)
    if container.state.running and not container.record.host.network_mode.startswith("container:"):
        settings.sandbox_id = container.id
        settings.sandbox_key = f"/proc/{container.state.pid}/ns/net"
    bridge = networks.get("bridge")
    if bridge is not None:
        settings.endpoint_id, settings.gateway = bridge.endpoint_id, bridge.gateway
        settings.ip_address, settings.ip_prefix_len, settings.mac_address = bridge.ip_address, bridge.ip_prefix_len, bridge.mac_address
    if container.state.running and ctx.networks.ports.has_gateway(container.id):
        settings.ports = ports.port_map(container.record.config.exposed_ports or {}, ctx.networks.ports.bindings_of(container.id))
    return settings
