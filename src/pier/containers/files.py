"""The files that Pier writes for a container and binds into its /etc: hosts, hostname, resolv.conf."""

from dataclasses import dataclass
from pathlib import Path

from pier.containers.record import Container
from pier.containers.table import Containers
from pier.networks import files as contents


@dataclass(frozen=True)
class Bound:
    """Where the files are on the host; those of the sharing container for `container:`."""

    hosts: Path
    hostname: Path
    resolv_conf: Path


def write(ctx: Containers, container: Container) -> Bound:
    """Write a container's files anew for a start. Raises OSError, Internal (a bad --dns)."""
    record, host = container.record, container.record.host
    folder = ctx.folder(container.id)
    mode = host.network_mode
    if mode.startswith("container:"):
        folder = ctx.folder(ctx.find(mode.partition(":")[2]).id)
        return Bound(folder / "hosts", folder / "hostname", folder / "resolv.conf")
    wired = [endpoint for endpoint in container.places if endpoint.interface]
    gateway = next((endpoint.gateway for endpoint in wired if endpoint.gateway), None) or ctx.networks.host_gateway()
    texts = {
        "hostname": contents.hostname_file(record.config.hostname),
        "hosts": contents.hosts_file(
            hostname=record.config.hostname,
            domainname=record.config.domainname,
            addresses=[address for endpoint in wired for address in endpoint.addresses],
            extra_hosts=host.extra_hosts or [],
            host_gateway=gateway,
            host_network=mode == "host",
        ),
        "resolv.conf": ctx.networks.resolv_conf(
            dns=host.dns or [], search=host.dns_search or [], options=host.dns_options or [], host_network=mode == "host"
        ),
    }
    for name, text in texts.items():
        path = folder / name
        path.write_text(text)
        path.chmod(0o644)
    return Bound(folder / "hosts", folder / "hostname", folder / "resolv.conf")
