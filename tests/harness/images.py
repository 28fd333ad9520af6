"""Images for tests, made here from busybox-static: no registry, no downloads, the same bytes every time."""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/:/bin/false
alice:x:1000:1000:Alice:/home/alice:/bin/sh
nobody:x:65534:65534::/:/bin/false
"""
GROUP = "root:x:0:\ndaemon:x:1:\naudio:x:29:alice\nalice:x:1000:\nstaff:x:50:\nnogroup:x:65534:\n"


@cache
def busybox() -> Path:
    """The host's static busybox. Raises FileNotFoundError where there is none."""
    found = shutil.which("busybox")
    if not found:
        raise FileNotFoundError("no busybox on this machine: apt-get install busybox-static")
    return Path(found)


def layer(files: Mapping[str, bytes | str | int | tuple[bytes, int]]) -> bytes:
    """A layer as tar bytes: bytes = a file (0644), (bytes, mode) = with its mode, str = a symbolic link, int = a folder of that mode."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, what in files.items():
            entry = tarfile.TarInfo(name)
            entry.mtime = 1_600_000_000
            content = None
            if isinstance(what, int):
                entry.type, entry.mode = tarfile.DIRTYPE, what
            elif isinstance(what, str):
                entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, what, 0o777
            else:
                content, entry.mode = what if isinstance(what, tuple) else (what, 0o644)
                entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content) if content is not None else None)
    return out.getvalue()


@cache
def busybox_layer() -> bytes:
    """busybox with a link for each applet, users root, daemon, alice (1000, also in audio), nobody."""
    applets = subprocess.run([busybox(), "--list"], capture_output=True, text=True, check=True).stdout.split()
    files: dict[str, Any] = dict.fromkeys(("bin", "etc", "home", "root", "usr", "usr/bin", "var", "dev", "proc", "sys"), 0o755)
    files |= {"tmp": 0o1777, "home/alice": 0o755, "bin/busybox": (busybox().read_bytes(), 0o755)}
    files |= {f"bin/{name}": "busybox" for name in sorted(set(applets) - {"busybox"})}
    files |= {"etc/passwd": PASSWD.encode(), "etc/group": GROUP.encode(), "etc/not-a-program": b"hello\n"}
    files |= {"bin/no-interpreter": (b"#!/nowhere/sh\n", 0o755), "bin/wrong-arch": (foreign_executable(), 0o755)}
    files |= {"bin/not-executable": b"#!/bin/sh\n"}
    return layer(files)


def foreign_executable() -> bytes:
    """An ELF header of another architecture (s390x): execve says ENOEXEC."""
    return b"\x7fELF\x02\x02\x01" + bytes(9) + b"\x00\x02\x00\x16" + bytes(44)


def docker_archive(path: Path, tag: str, layers: Sequence[bytes], config: Mapping[str, Any] | None = None) -> str:
    """Write an image as `docker save` of old did. Returns the image's ID (sha256:...)."""
    diff_ids = ["sha256:" + hashlib.sha256(data).hexdigest() for data in layers]
    image = {
        "architecture": "amd64" if busybox_is_amd64() else "arm64",
        "os": "linux",
        "created": "2026-01-02T03:04:05Z",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], **(config or {})},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created": "2026-01-02T03:04:05Z", "created_by": f"ADD layer {n} in /"} for n in range(len(layers))],
    }
    text = json.dumps(image, sort_keys=True).encode()
    digest = hashlib.sha256(text).hexdigest()
    names = [f"{diff_id.removeprefix('sha256:')}/layer.tar" for diff_id in diff_ids]
    manifest = json.dumps([{"Config": f"{digest}.json", "RepoTags": [tag] if tag else None, "Layers": names}]).encode()
    members = {f"{digest}.json": text, "manifest.json": manifest, **dict(zip(names, layers, strict=True))}
    path.write_bytes(layer(members))
    return "sha256:" + digest


def busybox_is_amd64() -> bool:
    """From the ELF header (e_machine 62), so that the image says what the file is."""
    return busybox().read_bytes()[18] == 62


def busybox_archive(path: Path, tag: str = "busybox:latest", config: Mapping[str, Any] | None = None) -> str:
    """The busybox image as an archive at `path`. Returns its ID."""
    return docker_archive(path, tag, [busybox_layer()], config)


def layered_archive(path: Path, tag: str, count: int = 6, files: int = 800, size: int = 4096) -> str:
    """An image of busybox and `count - 1` more layers of `files` files of `size` bytes each: something to load."""
    more = [layer({f"data/{n}/{i}": hashlib.sha256(f"{n}.{i}".encode()).digest() * (size // 32) for i in range(files)}) for n in range(1, count)]
    return docker_archive(path, tag, [busybox_layer(), *more])
