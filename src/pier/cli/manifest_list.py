"""The document that a manifest list is: bytes that are the same as Docker's for the same entries, so that the digest is. Pure."""

from pier.cli.manifest_store import DOCKER_LIST, OCI_INDEX, OCI_MANIFEST
from pier.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pier.cli.manifest_store import Entry

# what Go builds for, and with it what Docker's client lets into a list
_ARCHITECTURES = {
    "darwin": "386 amd64 arm arm64",
    "dragonfly": "amd64",
    "freebsd": "386 amd64 arm",
    "linux": "386 amd64 arm arm64 loong64 mips mipsle mips64 mips64le ppc64 ppc64le riscv64 s390x",
    "netbsd": "386 amd64 arm",
    "openbsd": "386 amd64 arm",
    "plan9": "386 amd64",
    "solaris": "amd64",
    "windows": "386 amd64 arm64",
}


def is_known(system: str, architecture: str) -> bool:
    """Whether there are programs for this system on this architecture."""
    return architecture in _ARCHITECTURES.get(system, "").split()


def media_type(entries: "Sequence[Entry]") -> str:
    """OCI's type where the first manifest is OCI's, else Docker's."""
    return OCI_INDEX if entries and entries[0]["Descriptor"].get("mediaType") == OCI_MANIFEST else DOCKER_LIST


def encode(entries: "Sequence[Entry]") -> bytes:
    """The list of these manifests."""
    manifests = [_described(entry["Descriptor"]) for entry in entries]
    text = jsontext.encode({"schemaVersion": 2, "mediaType": media_type(entries), "manifests": manifests})
    return jsontext.indent(text, "   ").encode()


def _described(descriptor: "dict[str, Any]") -> "dict[str, Any]":
    platform = descriptor.get("platform") or {}
    fields = {name: platform[name] for name in ("os.version", "os.features", "variant") if platform.get(name)}
    return {
        "mediaType": descriptor.get("mediaType", ""),
        "size": descriptor.get("size", 0),
        "digest": descriptor["digest"],
        "platform": {"architecture": platform.get("architecture", ""), "os": platform.get("os", ""), **fields},
    }
