"""What the host says of itself, for /version and /info: read from /proc and /sys each time, so that it is true."""

import os
from pathlib import Path

_GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def read(path: str, default: str = "") -> str:
    """The stripped text of a file, `default` where it cannot be read."""
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return default


def architecture() -> str:
    """The machine's architecture by its OCI name (`amd64`)."""
    machine = os.uname().machine
    return _GO_ARCHITECTURES.get(machine, machine)


def operating_system(os_release: str | None = None) -> str:
    """The pretty name of os-release(5)."""
    text = os_release if os_release is not None else read("/etc/os-release") or read("/usr/lib/os-release")
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    name = values.get("PRETTY_NAME", "").strip().strip("\"'")
    return name or "Linux"


def memory_bytes(meminfo: str | None = None) -> int:
    """All the memory there is."""
    for line in (meminfo if meminfo is not None else read("/proc/meminfo")).splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def forwards_ipv4() -> bool:
    """Whether the host forwards IPv4."""
    return read("/proc/sys/net/ipv4/ip_forward") == "1"


def open_fds() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd")) - 1


def apparmor_enabled() -> bool:
    """Whether AppArmor confines here."""
    return read("/sys/module/apparmor/parameters/enabled") == "Y"
