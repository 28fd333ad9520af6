"""Image archives made by hand, right ones and wrong ones."""

import gzip
import hashlib
import json
from typing import Any

from . import tars

OCI = "application/vnd.oci.image."


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def long_file(name: str, content: bytes) -> bytes:
    raw = name.encode()
    return tars.file(raw, content) if len(raw) <= 100 else tars.gnu_long(raw) + tars.file(raw[:100], content)


def layer(number: int = 0) -> bytes:
    return tars.tar(tars.file(b"file%d" % number, b"content %d" % number))


def config(*layers: bytes, architecture: str = "amd64", **more: Any) -> bytes:
    rootfs = {"type": "layers", "diff_ids": ["sha256:" + sha(data) for data in layers]}
    return json.dumps({"architecture": architecture, "os": "linux", "config": {}, "rootfs": rootfs, **more}).encode()


def archive(files: dict[str, bytes], order: list[str] | None = None) -> bytes:
    return tars.tar(*[long_file(name, files[name]) for name in order or files])


def docker_archive(layers: list[bytes], tags: list[str] | None = None, config_bytes: bytes | None = None, **change: Any) -> dict[str, bytes]:
    """What docker save wrote before 25: a folder for each layer; the manifest comes last."""
    body = config_bytes if config_bytes is not None else config(*layers)
    name = sha(body) + ".json"
    files = {f"{sha(data)}{n}/layer.tar": data for n, data in enumerate(layers)}
    item = {"Config": name, "RepoTags": tags, "Layers": list(files), **change}
    return {**files, name: body, "manifest.json": json.dumps([item]).encode()}


def descriptor(data: bytes, media: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": OCI + media, "digest": "sha256:" + sha(data), "size": len(data), **more}


class Layout:
    """An OCI layout that grows; `files()` are its files, index.json last or wherever `archive` is told."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.listed: list[dict[str, Any]] = []

    def blob(self, data: bytes) -> bytes:
        self.blobs["blobs/sha256/" + sha(data)] = data
        return data

    def image(self, layers: list[bytes], packed: list[bytes] | None = None, media: str = "layer.v1.tar", **more: Any) -> bytes:
        body = self.blob(config(*layers, **more))
        blobs = [self.blob(data) for data in (packed or layers)]
        parts = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": descriptor(body, "config.v1+json")}
        return self.blob(json.dumps({**parts, "layers": [descriptor(data, media) for data in blobs]}).encode())

    def index(self, entries: list[dict[str, Any]]) -> bytes:
        return self.blob(json.dumps({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": entries}).encode())

    def add(self, manifest: bytes, media: str = "manifest.v1+json", tag: str = "", **more: Any) -> None:
        notes = {"annotations": {"io.containerd.image.name": tag}} if tag else {}
        self.listed.append(descriptor(manifest, media, **notes, **more))

    def files(self) -> dict[str, bytes]:
        index = json.dumps({"schemaVersion": 2, "manifests": self.listed}).encode()
        return {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', **self.blobs, "index.json": index}


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)
