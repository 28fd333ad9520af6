"""The engine that is measured, and the images: made from Debian's packages once and kept in the user's cache."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.harness.engine import Engine

ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = "gcc,g++,make,python3,perl,git,cmake,gfortran,libboost-dev"
# The layers of the large image, the first that takes a name: about the shares that packages installed in six steps have.
_SHARES: Sequence[Callable[[str], bool]] = (
    lambda name: name.startswith("usr/lib/gcc"),
    lambda name: name.startswith("usr/include"),
    lambda name: name.startswith("usr/share"),
    lambda name: name.startswith(("usr/lib/python", "usr/lib/git", "usr/lib/llvm")),
    lambda name: name.startswith("usr/bin"),
    lambda name: True,
)


@contextmanager
def engine(env: Mapping[str, str] | None = None) -> Iterator[Engine]:
    """An engine as machines have it: what a reboot may forget lies on a tmpfs, as /run is one. The peers have theirs on one, too."""
    made = Engine(env=env)
    made.exec_root.mkdir()
    subprocess.run(made.namespaces.argv("mount", "-t", "tmpfs", "tmpfs", str(made.exec_root)), check=True)
    with made:
        yield made


def cache() -> Path:
    """Where images are kept; made on demand."""
    path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pier-bench"
    path.mkdir(parents=True, exist_ok=True)
    return path


def debian() -> Path:
    """`debian:latest`, one layer, as the example's script makes it."""
    return _kept("debian.tar", lambda draft: _run([sys.executable, ROOT / "examples/images/make_debian.py", "--output", draft]))


def compilers() -> Path:
    """`compilers:latest`: a Debian with compilers in six layers, some 700 MB."""
    return _kept("compilers.tar", _make_compilers)


def family(count: int = 20) -> list[Path]:
    """`family-N:latest`: images of Debian's layer, one of 8 MB that four of them share, and 2 MB of their own."""
    return [_kept(f"family-{number}.tar", lambda draft, number=number: _make_member(draft, number)) for number in range(count)]  # type: ignore[misc]


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    path = cache() / name
    if not path.exists():
        draft = path.with_suffix(".new")
        make(draft)
        draft.rename(path)
    return path


def _run(argv: Sequence[str | Path]) -> None:
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def _make_compilers(draft: Path) -> None:
    sys.path.insert(0, str(ROOT / "examples/images"))
    import make_debian

    suite, mirror = make_debian.host_suite()
    with tempfile.TemporaryDirectory(dir="/tmp") as scratch:
        tree = Path(scratch) / "tree"
        _run(["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", suite, tree, mirror])
        files = [Path(scratch) / f"{number}.tar" for number in range(len(_SHARES))]
        tars = [tarfile.open(path, "w", format=tarfile.PAX_FORMAT) for path in files]  # noqa: SIM115 (closed below)
        for path in sorted(tree.rglob("*")):
            name = str(path.relative_to(tree))
            if not name.startswith(("proc/", "sys/", "dev/", "var/cache/apt/archives/")):
                chosen = next(number for number, takes in enumerate(_SHARES) if takes(name))
                tars[chosen].add(path, name, recursive=False)
        for tar in tars:
            tar.close()
        write_image(draft, "compilers:latest", [path.read_bytes() for path in reversed(files)])


def _make_member(draft: Path, number: int) -> None:
    with tarfile.open(debian()) as archive:
        manifest = json.load(archive.extractfile("manifest.json") or io.BytesIO())
        base = (archive.extractfile(manifest[0]["Layers"][0]) or io.BytesIO()).read()
    shared, own = _noise(f"shared/{number // 4}", 8 << 20), _noise(f"own/{number}", 2 << 20)
    write_image(draft, f"family-{number}:latest", [base, shared, own])


def _noise(name: str, size: int) -> bytes:
    """A layer with one file of bytes that compress by half, the same each time."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("opt/" + name)
        entry.size = size
        seeds = (hashlib.sha512(f"{name}/{block}".encode()).digest() for block in range(size // 128))
        tar.addfile(entry, io.BytesIO(b"".join(seed + bytes(64) for seed in seeds)))
    return out.getvalue()


def write_image(path: Path, tag: str, layers: Sequence[bytes]) -> None:
    """An image as `docker save` of old wrote it."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    diff_ids = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
    config = json.dumps(
        {
            "architecture": machine,
            "os": "linux",
            "created": "2026-01-02T03:04:05Z",
            "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created": "2026-01-02T03:04:05Z", "created_by": f"layer {number}"} for number in range(len(layers))],
        }
    ).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    names = [f"{diff_id.removeprefix('sha256:')}/layer.tar" for diff_id in diff_ids]
    manifest = json.dumps([{"Config": name, "RepoTags": [tag], "Layers": names}]).encode()
    with tarfile.open(path, "w") as tar:
        for entry_name, data in [*zip(names, layers, strict=True), (name, config), ("manifest.json", manifest)]:
            entry = tarfile.TarInfo(entry_name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
