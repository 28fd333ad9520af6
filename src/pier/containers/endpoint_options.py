"""What a container asks of one interface beyond its address: driver options, link-local addresses. Pure; texts are Docker's."""

import ipaddress
import re
from collections.abc import Mapping

from pier.api.models.networks import EndpointSettings
from pier.errors import Internal, Invalid, NotImplementedByPier
from pier.networks.model import MAX_LINK_NAME

_SYSCTLS, _NAME = "com.docker.network.endpoint.sysctls", "com.docker.network.endpoint.ifname"
# No component may be "..": the name becomes a path. Docker's client writes IFNAME in small letters.
_SYSCTL = re.compile(r"net\.(ipv4|ipv6|mpls)\.([a-z0-9_]+)\.(?i:IFNAME)\.([a-z0-9_]+)=(.*)", re.ASCII)
_INTERFACE_SYSCTL = re.compile(r"net\.(ipv4|ipv6|mpls)\.[^.]+\.eth[0-9]+\..+", re.ASCII)


def problems(settings: EndpointSettings) -> list[str]:
    """What is wrong with the options. Raises NotImplementedByPier for one that nobody here knows."""
    found = []
    for key, value in (settings.driver_opts or {}).items():
        if key == _SYSCTLS:
            for text in filter(None, value.split(",")):
                if not _SYSCTL.fullmatch(text):
                    found.append(
                        f"unrecognised network interface sysctl '{text}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', "
                        "'X' must be 'ipv4', 'ipv6' or 'mpls'"
                    )
        elif key == _NAME:
            if not value or len(value.encode()) > MAX_LINK_NAME or "/" in value or value.split() != [value] or value in ("lo", ".", ".."):
                found.append(f"invalid interface name {value!r}: at most {MAX_LINK_NAME} bytes, no slash and no white space, and not lo")
        else:
            raise NotImplementedByPier(f"the driver option {key} of a container's place in a network")
    for text in (settings.ipam_config.link_local_ips if settings.ipam_config else None) or []:
        if not _link_local(text):
            found.append(f"invalid link local IP address: {text}")
    return found


def interface(settings: EndpointSettings, usual: str) -> str:
    """The interface's name: what is asked for, or the usual one."""
    return (settings.driver_opts or {}).get(_NAME) or usual


def sysctls(settings: EndpointSettings, name: str) -> tuple[tuple[str, str], ...]:
    """(name below /proc/sys/net, value) of an interface; the options are checked."""
    found = map(_SYSCTL.fullmatch, filter(None, (settings.driver_opts or {}).get(_SYSCTLS, "").split(",")))
    return tuple((f"{match[1]}/{match[2]}/{name}/{match[3]}", match[4]) for match in found if match)


def link_local(settings: EndpointSettings) -> tuple[str, ...]:
    """Its link-local addresses with their prefixes (RFC 3927, RFC 4291)."""
    given = (settings.ipam_config.link_local_ips if settings.ipam_config else None) or []
    return tuple(f"{text}/{64 if ':' in text else 16}" for text in given)


def _link_local(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_link_local
    except ValueError:
        return False


def refuse_interface_sysctls(sysctls: Mapping[str, str]) -> None:
    """--sysctl is for the whole namespace: one interface has its own way. Raises Internal with Docker's text."""
    for name in sysctls:
        if _INTERFACE_SYSCTL.fullmatch(name):
            raise Internal(f'interface specific sysctl setting "{name}" must be supplied using driver option \'{_SYSCTLS}\'')


def check(settings: EndpointSettings, name: str) -> None:
    """Raise Invalid for all that is wrong, NotImplementedByPier. name: of the network."""
    if told := problems(settings):
        words = told[0] if len(told) == 1 else "\n".join(f"* {problem}" for problem in told)
        raise Invalid(f"invalid config for network {name}: invalid endpoint settings:\n{words}")
