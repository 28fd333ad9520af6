"""What this host can do: probed once at the daemon's start by doing the thing, then passed around as a value.

`PIER_FEATURES=-overlay_fd,-mount_setattr` takes features away, so that the fallbacks can be forced in tests and by users.
"""

import errno
import os
from dataclasses import dataclass

from pier.linux import mounts, processes
from pier.linux.cgroups import CgroupLayout
from pier.linux.seccomp import available as seccomp_available
from pier.linux.syscalls import MACHINE

OVERLAY_FD = "overlay_fd"  # layers are handed to overlay as descriptors, detached mounts too (6.13)
OVERLAY_APPEND = "overlay_append"  # layers are handed over one by one, `lowerdir+` (6.8)
MOUNT_SETATTR = "mount_setattr"  # attributes of a mount can be changed by descriptor, of whole trees too (5.12)
SECCOMP = "seccomp"
APPARMOR = "apparmor"
KEYRINGS = "keyrings"
ALL = frozenset({OVERLAY_FD, OVERLAY_APPEND, MOUNT_SETATTR, SECCOMP, APPARMOR, KEYRINGS})


@dataclass(frozen=True)
class HostFacts:
    """`features` of this module's names; `kernel` (major, minor); `machine` as uname says; `cpus` possible ones."""

    cgroups: CgroupLayout
    features: frozenset[str]
    kernel: tuple[int, int]
    machine: str
    cpus: int

    def has(self, feature: str) -> bool:
        """Whether the host has the feature, and nobody took it away."""
        return feature in self.features


def probe(instance: str = "pier", scratch: str = "/tmp", wish: str | None = None) -> HostFacts:
    """Look at this host. `scratch` is a folder that an overlay can use for layers; `wish` stands for $PIER_FEATURES.

    Raises ValueError for a wish that is not `-name,-name`, OSError where there are no cgroups.
    """
    features = _overlay_features() | _other_features()
    release = os.uname().release.split(".")
    kernel = int(release[0]), int("".join(c for c in release[1] if c.isdigit()) or "0")
    return HostFacts(
        cgroups=CgroupLayout.detect(instance),
        features=without(features, os.environ.get("PIER_FEATURES", "") if wish is None else wish),
        kernel=kernel,
        machine=MACHINE,
        cpus=_possible_cpus(),
    )


def without(features: frozenset[str], wish: str) -> frozenset[str]:
    """The features less those of a `-name,-name` text; names of other packages' features pass. Raises ValueError."""
    for word in filter(None, (part.strip() for part in wish.split(","))):
        if not word.startswith("-"):
            raise ValueError(f"PIER_FEATURES: {word!r} is not -feature: features can be taken away, not added")
        features -= {word[1:]}
    return features


def _overlay_features() -> frozenset[str]:
    """Two tmpfs, never attached anywhere, as the layers of a read-only overlay: as descriptors, then by name."""
    first = second = -1
    try:
        first, second = (mounts.new_filesystem("tmpfs", {"size": "4k"}) for _ in range(2))
        os.close(mounts.mount_overlay([first, second]))
        return frozenset({OVERLAY_FD, OVERLAY_APPEND})
    except OSError:
        pass
    finally:
        for fd in (first, second):
            if fd >= 0:
                os.close(fd)
    try:
        os.close(mounts.mount_overlay(["/usr", "/etc"]))
        return frozenset({OVERLAY_APPEND})
    except OSError:
        return frozenset()


def _other_features() -> frozenset[str]:
    found = set()
    fd = mounts.new_filesystem("tmpfs", {"size": "4k"})
    try:
        mounts.set_attributes(fd, mounts.MOUNT_ATTR_RDONLY)
        found.add(MOUNT_SETATTR)
    except OSError:
        pass
    finally:
        os.close(fd)
    if seccomp_available():
        found.add(SECCOMP)
    try:
        with open("/sys/module/apparmor/parameters/enabled") as file:
            if file.read().startswith("Y"):
                found.add(APPARMOR)
    except OSError:
        pass
    try:
        processes.read_session_keyring()
        found.add(KEYRINGS)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            found.add(KEYRINGS)
    return frozenset(found)


def _possible_cpus() -> int:
    try:
        with open("/sys/devices/system/cpu/possible") as file:
            return int(file.read().strip().replace(",", "-").split("-")[-1]) + 1
    except (OSError, ValueError):
        return os.cpu_count() or 1
