"""Where a volume plugin listens: sockets and specification files in the plugin folders. Pure, but for reading the folders.

    NAME.sock, NAME/NAME.sock    the plugin's socket
    NAME.spec                    one line: unix:///PATH, tcp://HOST:PORT, http://..., https://...
    NAME.json                    {"Name", "Addr", "TLSConfig": {"InsecureSkipVerify", "CAFile", "CertFile", "KeyFile"}}

Source: Docker's "Use of plugins", plugin discovery.
"""

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from pier.errors import Invalid

FOLDERS = ("/run/docker/plugins", "/etc/docker/plugins", "/usr/lib/docker/plugins")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
_MAX_SPEC_BYTES = 64 << 10


class TLSConfig(msgspec.Struct, frozen=True):
    """Of a .json file."""

    skip_verify: bool = msgspec.field(name="InsecureSkipVerify", default=False)
    authority: str = msgspec.field(name="CAFile", default="")
    certificate: str = msgspec.field(name="CertFile", default="")
    key: str = msgspec.field(name="KeyFile", default="")


@dataclass(frozen=True)
class Address:
    """path: of a UNIX socket, else host and port; tls: None for plain HTTP."""

    path: str = ""
    host: str = ""
    port: int = 0
    tls: TLSConfig | None = None


class _Document(msgspec.Struct, frozen=True):
    address: str = msgspec.field(name="Addr")
    tls: TLSConfig | None = msgspec.field(name="TLSConfig", default=None)


def names(folders: Sequence[str]) -> list[str]:
    """The plugins that the folders tell of."""
    found = set()
    for folder in folders:
        try:
            entries = os.listdir(folder)
        except OSError:
            continue
        for entry in entries:
            name, dot, kind = entry.rpartition(".")
            if dot and kind in ("sock", "spec", "json"):
                found.add(name)
            elif _is_socket(Path(folder, entry, f"{entry}.sock")):
                found.add(entry)
    return sorted(name for name in found if _NAME.fullmatch(name))


def find(name: str, folders: Sequence[str]) -> Address | None:
    """Where a plugin is; sockets first. Raises Invalid for a file that says nothing sensible."""
    if not _NAME.fullmatch(name):
        return None
    for folder in folders:
        for path in (Path(folder, f"{name}.sock"), Path(folder, name, f"{name}.sock")):
            if _is_socket(path):
                return Address(path=str(path))
    for folder in folders:
        for path, read in ((Path(folder, f"{name}.spec"), _of_spec), (Path(folder, f"{name}.json"), _of_json)):
            try:
                with open(path, "rb") as file:
                    return read(file.read(_MAX_SPEC_BYTES))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, msgspec.MsgspecError) as error:
                raise Invalid(f'plugin "{name}": {path}: {error}') from None
    return None


def parse(url: str, tls: TLSConfig | None = None) -> Address:
    """The address that a URL is. Raises ValueError."""
    parts = urlsplit(url.strip())
    if parts.scheme == "unix" and parts.path.startswith("/"):
        return Address(path=parts.path)
    if parts.scheme not in ("tcp", "http", "https") or not parts.hostname:
        raise ValueError(f"{url.strip()!r} is no address of a plugin: unix:///PATH or tcp://HOST:PORT")
    secure = parts.scheme == "https" or tls is not None
    return Address(host=parts.hostname, port=parts.port or (443 if secure else 80), tls=(tls or TLSConfig()) if secure else None)


def _of_spec(text: bytes) -> Address:
    return parse(text.decode())


def _of_json(text: bytes) -> Address:
    document = msgspec.json.decode(text, type=_Document)
    return parse(document.address, document.tls)


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
