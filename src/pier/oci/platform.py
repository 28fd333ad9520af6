"""Platforms: parsing, normalising and matching, as containerd's platforms package does it.

Sources: OCI image-spec image-index.md ("Platform Variants"); GOOS and GOARCH values of the Go tool chain.
"""

import os
import re
from dataclasses import dataclass
from functools import cache

from pier.errors import Invalid

_SYSTEMS = frozenset(
    [
        "aix",
        "android",
        "darwin",
        "dragonfly",
        "freebsd",
        "hurd",
        "illumos",
        "ios",
        "js",
        "linux",
        "nacl",
        "netbsd",
        "openbsd",
        "plan9",
        "solaris",
        "windows",
        "zos",
    ]
)
_ARCHITECTURES = frozenset(
    [
        "386",
        "amd64",
        "amd64p32",
        "arm",
        "armbe",
        "arm64",
        "arm64be",
        "ppc64",
        "ppc64le",
        "loong64",
        "mips",
        "mipsle",
        "mips64",
        "mips64le",
        "mips64p32",
        "mips64p32le",
        "ppc",
        "riscv",
        "riscv64",
        "s390",
        "s390x",
        "sparc",
        "sparc64",
        "wasm",
    ]
)
_COMPONENT = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system, an architecture and maybe a variant of it, in normalised words."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    def runs(self, image: "Platform") -> bool:
        """Whether a machine (or a request) of this platform takes that image: the same, or an older variant of arm."""
        if (self.os, self.architecture) != (image.os, image.architecture):
            return False
        if self.architecture == "arm":
            return _arm_version(image.variant) <= _arm_version(self.variant)
        if self.architecture == "arm64":
            return (image.variant or "v8") == (self.variant or "v8")
        if self.architecture == "amd64" and self.variant:
            return image.variant in ("", "v1", "v2", "v3", "v4") and (image.variant or "v1") <= self.variant
        return not image.variant or image.variant == self.variant

    def closeness(self, image: "Platform") -> int:
        """How well that image suits what takes it: -1 not at all, else the newer variant the higher."""
        if not self.runs(image):
            return -1
        return _version(image.variant, 0)


def _arm_version(variant: str) -> int:
    return _version(variant, 7)


def _version(variant: str, otherwise: int) -> int:
    digits = variant.removeprefix("v")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else otherwise


def normalise(system: str, architecture: str, variant: str = "") -> Platform:
    """The platform in the words that images use: `aarch64` is `arm64`, `x86_64` is `amd64`, `armhf` is `arm` `v7`."""
    system, architecture, variant = system.lower(), architecture.lower(), variant.lower()
    system = "darwin" if system == "macos" else system
    match architecture:
        case "i386" | "i686":
            architecture, variant = "386", ""
        case "x86_64" | "x86-64" | "amd64":
            architecture, variant = "amd64", "" if variant == "v1" else variant
        case "aarch64" | "arm64":
            architecture, variant = "arm64", "" if variant in ("8", "v8") else variant
        case "armhf":
            architecture, variant = "arm", "v7"
        case "armel":
            architecture, variant = "arm", "v6"
        case "arm":
            variant = "v7" if variant in ("", "7") else variant
            variant = f"v{variant}" if variant.isdigit() else variant
    return Platform(system, architecture, variant)


@cache
def host() -> Platform:
    """The platform of this machine."""
    machine = os.uname().machine
    if machine.startswith("armv"):
        return Platform("linux", "arm", machine[3:5])
    return normalise("linux", machine)


def parse(text: str) -> Platform:
    """`os`, `arch`, `os/arch` or `os/arch/variant`; what is missing is this machine's. Raises Invalid with Docker's texts."""
    parts = text.split("/")
    if "*" in text:
        raise Invalid(f'"{text}": wildcards not yet supported: invalid argument')
    if len(parts) > 3:
        raise Invalid(f'"{text}": cannot parse platform specifier: invalid argument')
    for part in parts:
        if not _COMPONENT.fullmatch(part):
            raise Invalid(
                f'"{part}" is an invalid component of "{text}": platform specifier component must match "{_COMPONENT.pattern}": invalid argument'
            )
    if len(parts) > 1:
        return normalise(*parts)
    word = normalise(parts[0], parts[0])
    here = host()
    if word.os in _SYSTEMS:
        return Platform(word.os, here.architecture, here.variant)
    if word.architecture in _ARCHITECTURES:
        return Platform("linux", word.architecture, word.variant)
    raise Invalid(f'"{text}": unknown operating system or architecture: invalid argument')
