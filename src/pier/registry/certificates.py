"""Certificates for TLS: Docker's folders of them, and the context that they make.

    /etc/docker/certs.d/HOST[:PORT]/
        *.crt               authorities, beside the system's
        NAME.cert NAME.key  a client's certificate and its key
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pier.errors import Invalid

if TYPE_CHECKING:
    import ssl

States = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Tls:
    """How the other end is known: `ca` are PEM files beside the system's authorities, `client` pairs of certificate and key (PEM files)."""

    verify: bool = True
    ca: tuple[Path, ...] = ()
    client: tuple[tuple[Path, Path], ...] = ()

    def __add__(self, other: "Tls") -> "Tls":
        """Both together: what either trusts and shows; verified where both are."""
        return Tls(self.verify and other.verify, (*self.ca, *other.ca), (*self.client, *other.client))


def read_folder(folder: Path) -> Tls:
    """The files of a folder; nothing where it is not there. Raises Invalid: a key without its certificate or the other way round, unreadable."""
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return Tls()
    except OSError as error:
        raise Invalid(f"{folder}: {error.strerror}") from None
    ca, client = [], []
    for name in names:
        stem, dot, kind = name.rpartition(".")
        if dot and kind == "crt":
            ca.append(folder / name)
        elif dot and kind == "cert":
            if f"{stem}.key" not in names:
                raise Invalid(f"{folder}: missing key {stem}.key for client certificate {name}. CA certificates must use the extension .crt")
            client.append((folder / name, folder / f"{stem}.key"))
        elif dot and kind == "key" and f"{stem}.cert" not in names:
            raise Invalid(f"{folder}: missing client certificate {stem}.cert for key {name}")
    return Tls(True, tuple(ca), tuple(client))


def context(tls: Tls) -> "ssl.SSLContext":
    """A context for connections to a host; made once for the same unchanged files. Raises Invalid that names the file which is at fault."""
    return _context(tls, states(tls))


def states(tls: Tls) -> States:
    """What tells whether a file was changed or replaced since. Raises Invalid for a file that is not there."""
    return tuple(_state(path) for path in (*tls.ca, *(path for pair in tls.client for path in pair)))


@lru_cache(maxsize=32)
def _context(tls: Tls, _states: States) -> "ssl.SSLContext":
    import ssl

    if tls.verify:
        made = ssl.create_default_context()
    else:  # reading the system's authorities takes 60 ms, for nothing here
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in tls.ca:
        try:
            made.load_verify_locations(cafile=path)
        except (ssl.SSLError, OSError) as error:
            raise Invalid(f"{path}: no certificate of an authority can be read from it: {_reason(error)}") from None
    for cert, key in tls.client:
        try:
            made.load_cert_chain(cert, key, password=_no_password(key))
        except (ssl.SSLError, OSError) as error:
            raise Invalid(f"{cert}: with the key {key} it is no certificate of a client: {_reason(error)}") from None
    return made


def _state(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _no_password(key: Path) -> Callable[[], str]:
    def ask() -> str:  # OpenSSL would ask on the terminal
        raise Invalid(f"{key}: the key is encrypted: a daemon has nobody to ask for its password")

    return ask


def _reason(error: Exception) -> str:
    import ssl

    return str(error.reason or error).lower().replace("_", " ") if isinstance(error, ssl.SSLError) else str(getattr(error, "strerror", "") or error)
