"""What this host's security modules give containers: found out once, at the daemon's start."""

import logging

from pier.containers.labels import Labelling
from pier.errors import PierError
from pier.linux import selinux
from pier.runtime import apparmor, facts

_log = logging.getLogger("pier.daemon")


def apparmor_profile(host: facts.HostFacts) -> str:
    """The name of the profile that containers get; "" where AppArmor is off, or its profile cannot be loaded (which is logged)."""
    if not host.has(facts.APPARMOR):
        return ""
    try:
        apparmor.load()
    except PierError as error:
        _log.warning("%s: containers run without an AppArmor profile", error)
        return ""
    return apparmor.NAME


def labelling() -> Labelling | None:
    """The labels that the host's SELinux policy has for containers; None, which is logged, where it has none."""
    if not selinux.enabled():
        _log.warning("selinux-enabled: SELinux is not on on this host: containers get no labels")
        return None
    found = selinux.container_contexts()
    if found is None:
        _log.warning("selinux-enabled: the policy of this host has no labels for containers (package container-selinux): they get none")
        return None
    return Labelling(*found)
