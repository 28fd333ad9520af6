"""Manifest lists in the making, where Docker's client keeps them and in its format, so that either can go on with what the other began.

<config>/manifests/<list>/<manifest>      one JSON file for each manifest; in names `:` is `-` and `/` is `_`

{"Ref": NAME, "Descriptor": {mediaType, digest, size, platform}, "Raw": base64, "SchemaV2Manifest" or "OCIManifest": the document}
"""

import binascii
import os

from pier.cli.session import CommandError
from pier.client import jsontext, references
from pier.client.configfile import ConfigError, Lock, write_whole
from pier.client.references import Name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Entry = dict[str, Any]

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


def named(text: str, before: str = "") -> Name:
    """What a user calls a manifest or a list, with `:latest` where nothing is said. Raises CommandError, `before` its text."""
    try:
        return references.parse(text).with_default_tag()
    except ValueError as error:
        raise CommandError(f"{before}{error}") from None


def entry(name: str, media_type: str, digest: str, data: bytes, platform: "dict[str, Any]") -> "Entry":
    """A manifest as the store has it. data: its bytes as the registry has them."""
    return {
        "Ref": name,
        "Descriptor": {"mediaType": media_type, "digest": digest, "size": len(data), **({"platform": platform} if platform else {})},
        "Raw": binascii.b2a_base64(data, newline=False).decode(),
        "OCIManifest" if media_type == OCI_MANIFEST else "SchemaV2Manifest": jsontext.decode(data),
    }


def document(found: "Entry") -> "Any":
    """The manifest itself."""
    return found.get("OCIManifest") or found.get("SchemaV2Manifest") or {}


def raw(found: "Entry") -> bytes:
    """The manifest's bytes."""
    return binascii.a2b_base64(str(found.get("Raw") or ""))


class ManifestStore:
    """The lists of a configuration folder. Raises CommandError."""

    def __init__(self, config_dir: str) -> None:
        self._config_dir = config_dir
        self._base = f"{config_dir}/manifests"

    def entries(self, listed: Name) -> "list[Entry] | None":
        """The manifests of a list, in the order in which they go into it; None where there is no such list."""
        folder = self._folder(listed)
        try:
            files = sorted(name for name in os.listdir(folder) if not name.endswith(".pier-new"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CommandError(f"{folder}: {error.strerror}") from None
        return [self._read(f"{folder}/{file}") for file in files]

    def find(self, listed: Name, name: Name) -> "Entry | None":
        """One manifest of a list."""
        path = f"{self._folder(listed)}/{_safe(name)}"
        return self._read(path) if os.path.exists(path) else None

    def put(self, listed: Name, name: Name, found: "Entry") -> None:
        """Add a manifest to a list, or replace it there."""
        folder = self._folder(listed)
        try:
            with Lock(self._config_dir):
                os.makedirs(folder, mode=0o755, exist_ok=True)
                write_whole(f"{folder}/{_safe(name)}", jsontext.encode(found).encode(), 0o644)
        except (ConfigError, OSError) as error:
            raise CommandError(f"{folder}: {getattr(error, 'strerror', None) or error}") from None

    def remove(self, listed: Name) -> bool:
        """Forget a list; whether there was one."""
        folder = self._folder(listed)
        try:
            with Lock(self._config_dir):
                for file in os.listdir(folder):
                    os.unlink(f"{folder}/{file}")
                os.rmdir(folder)
        except FileNotFoundError:
            return False
        except (ConfigError, OSError) as error:
            raise CommandError(f"{folder}: {getattr(error, 'strerror', None) or error}") from None
        return True

    def _folder(self, listed: Name) -> str:
        return f"{self._base}/{_safe(listed)}"

    @staticmethod
    def _read(path: str) -> "Entry":
        try:
            with open(path, "rb") as file:
                found = jsontext.decode(file.read())
            if isinstance(found, dict) and isinstance(found.get("Ref"), str) and isinstance(found["Descriptor"]["digest"], str):
                raw(found)
                return found
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise CommandError(f"{path}: this is no manifest of a list: remove the list and make it again")


def _safe(name: Name) -> str:
    return name.full.replace(":", "-").replace("/", "_")
