"""What the tests of the client have in common: sources of uploads, and clients that know nothing of this machine's configuration."""

import hashlib
import threading
from pathlib import Path

from pier.oci.reference import parse
from pier.registry.client import Registries
from pier.registry.config import RegistryConfig
from pier.registry.repository import Repository
from tests.harness.registry_server import Server

NOWHERE = Path("/nonexistent")


def noise(size: int, seed: str = "") -> bytes:
    """Bytes that look like a compressed layer."""
    return hashlib.shake_256(seed.encode()).digest(size)


class Bytes:
    """A source that has all its bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.data).hexdigest()


class Growing(Bytes):
    """A source of which `grow` brings the next bytes; who reads further waits. None: that was all."""

    def __init__(self) -> None:
        super().__init__(b"")
        self._changed = threading.Condition()
        self._whole = False

    def grow(self, data: bytes | None) -> None:
        with self._changed:
            self.data += data or b""
            self._whole = data is None
            self._changed.notify_all()

    def read(self, offset: int, size: int) -> bytes:
        with self._changed:
            assert self._changed.wait_for(lambda: self._whole or offset < len(self.data), 30)
            return super().read(offset, size)

    @property
    def digest(self) -> str:
        assert self._whole, "a digest before the end"
        return super().digest


def registries(**config: object) -> Registries:
    """A client of its own."""
    return Registries(RegistryConfig(**{"certs_folders": (), "hosts_folders": (), **config}), "tests")  # type: ignore[arg-type]


def repository(server: Server | object, name: str = "app", **options: object) -> Repository:
    """A repository of a test registry, by a client of its own."""
    return registries().repository(parse(f"{server.name}/{name}"), **options)  # type: ignore[attr-defined, arg-type]


def whole(made: Repository, digest: str, size: int = 1 << 20) -> bytes:
    """A blob's bytes."""
    with made.blob(digest) as blob:
        return b"".join(iter(lambda: blob.read(size), b""))
