"""A layer made of a container's writable folder, by the real worker: the next container sees what this one saw. Needs root."""

import asyncio
import contextlib
import io
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pier.archive.refusal import BadArchive
from pier.archive.workers import Workers
from pier.errors import Unavailable
from pier.linux import mounts
from pier.snapshots import ErofsLayers, LayerStore, Snapshots, UnpackedLayers, probe
from pier.snapshots.reading import reading
from tests.unit.archive import tars

from .test_equal_layers import ACL, CAPABILITY, shown, taken_in, xattrs
from .test_worker import Provider

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="overlays need root")

BASE = tars.tar(
    tars.folder(b"etc"),
    tars.file(b"etc/name", b"base"),
    tars.file(b"etc/gone", b"x"),
    tars.folder(b"full"),
    tars.file(b"full/a", b"1"),
    tars.file(b"full/sub/b", b"2"),
    tars.folder(b"same"),
    tars.file(b"same/kept", b"3"),
    tars.file(b"swap", b"4"),
    tars.folder(b"folder"),
    tars.file(b"folder/x", b"5"),
    tars.file(b"linked", b"6"),
    tars.hardlink(b"linked2", b"linked"),
    xattrs((b"security.capability", CAPABILITY), (b"user.kept", b"v")) + tars.file(b"able", b"7", mode=0o755),
)
TOP = tars.tar(tars.file(b"etc/.wh.gone"), tars.file(b"top", b"8"), tars.folder(b"full"), tars.file(b"full/.wh..wh..opq"), tars.file(b"full/c", b"9"))
ENGINE_MADE = ("dev", "etc", "etc/hosts", "etc/hostname", "proc", "sbin", "sbin/docker-init")
Act = Callable[[Path], object]


class Stage:
    """Layers, containers over them, and workers."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.layers: LayerStore = ErofsLayers(folder / "layers") if kind == "erofs" else UnpackedLayers(folder / "layers")
        self.snapshots = Snapshots(folder, self.layers)
        self.stack: list[str] = []
        for data in (BASE, TOP):
            self.adopt(data)

    def adopt(self, data: bytes) -> None:
        diff_id = taken_in(data, self.folder / "in", self.kind)
        self.layers.adopt(diff_id, self.folder / "in")
        self.stack.append(diff_id)

    def container(self) -> "Container":
        return Container(self, f"c{len(self.snapshots.list())}")


class Container:
    def __init__(self, stage: Stage, id: str) -> None:
        self.stage, self.id, self.ingest = stage, id, stage.folder / f"ingest-{id}"
        stage.snapshots.create(id, stage.stack)
        self.upper = Path(stage.snapshots.upper(id))
        self.ingest.mkdir()

    @contextlib.contextmanager
    def root(self) -> Iterator[Path]:
        root = asyncio.run(self.stage.snapshots.rootfs(self.id))
        fd = mounts.mount_overlay(root.lowers, root.upper, root.work)
        try:
            yield Path(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)

    def did(self, act: Act) -> "Container":
        with self.root() as root:
            act(root)
        return self

    def job(self, op: str, arrange: Callable[[int, list[int]], list[int]], **fields: Any) -> dict[str, Any]:
        """An operation in a confined worker on (the writable folder, the layers), as the daemon asks for it."""

        async def go() -> dict[str, Any]:
            provider = Provider()
            async with reading(self.stage.snapshots, self.id) as (upper, *layers):
                answer = await Workers(provider).run(op, arrange(upper, layers), kind=self.stage.kind, engine_made=ENGINE_MADE, **fields)
            await provider.ended()
            return dict(answer)

        return asyncio.run(asyncio.wait_for(go(), 120))

    def made(self, ingest_fd: int = -1, **fields: Any) -> dict[str, Any]:
        """What the worker answers about the layer of what the container wrote, which is in the ingest folder."""
        fd = os.dup(ingest_fd) if ingest_fd >= 0 else os.open(self.ingest, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return self.job("changes", lambda upper, layers: [upper, *layers, fd], **fields)
        finally:
            os.close(fd)

    def committed(self, **fields: Any) -> None:
        """That layer is on top of the stage's from now on."""
        answer = self.made(**fields)
        self.stage.layers.adopt(answer["diff_id"], self.ingest / answer["dir"])
        self.stage.stack.append(answer["diff_id"])

    def listed(self) -> Any:
        with tempfile.TemporaryFile() as file:
            self.job("differences", lambda upper, layers: [file.fileno(), *layers, upper])
            file.seek(0)
            return json.load(file)


@pytest.fixture(params=["erofs", "unpacked"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    here = os.getcwd()
    if request.param == "erofs" and (fault := probe.try_erofs(tmp_path)):
        pytest.skip(fault)
    found = Stage(str(request.param), tmp_path)
    yield found
    found.snapshots.close()
    os.chdir(here)


def everything(root: Path) -> None:
    """What a container can do to its files."""
    (root / "new/deep").mkdir(parents=True)
    (root / "new/deep/file").write_bytes(b"hello")
    os.utime(root / "new/deep/file", ns=(1, 1_234_567_890_123_456_789))
    os.chown(root / "new/deep/file", 70_000, 4_000_000_000)
    os.chmod(root / "new/deep/file", 0o6751)
    os.link(root / "new/deep/file", root / "new/again")
    os.symlink("../nowhere" * 300, root / "new/link")
    os.mkfifo(root / "new/fifo", 0o622)
    os.mknod(root / "new/null", 0o20666, os.makedev(1, 3))
    os.mknod(root / "new/disk", 0o60640, os.makedev(259, 70_000))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(root / "new/sock"))
    (root / os.fsdecode(b"new/\xff\xfe")).write_bytes(b"not UTF-8")
    (root / "new/ümläut").write_bytes(b"1")
    (root / ("new/" + "n" * 255)).write_bytes(b"long")
    deep = root / "new"
    for _ in range(60):
        deep = deep / ("d" * 60)
        deep.mkdir()
    (deep / "end").write_bytes(b"4000 bytes of name")
    with open(root / "new/sparse", "wb") as file:
        file.seek(5 << 20)
        file.write(b"x" * 70_000)
        file.truncate(20 << 20)
    (root / "new/hole").write_bytes(b"")
    os.truncate(root / "new/hole", 3_000_001)
    os.setxattr(root / "new/deep", "user.d", b"\0v=\n")
    os.setxattr(root / "new/again", "trusted.t", b"v" * 3000)
    os.setxattr(root / "new/deep/file", "security.capability", CAPABILITY)
    os.setxattr(root / "new/link", "trusted.l", b"v", follow_symlinks=False)
    os.setxattr(root / "new", "system.posix_acl_default", ACL)
    os.setxattr(root / "new/null", "system.posix_acl_access", ACL)
    os.unlink(root / "etc/name")
    (root / "etc/name").write_bytes(b"replaced")
    os.unlink(root / "top")
    os.rename(root / "swap", root / "swapped")
    for name in ("same", "folder", "full"):
        shutil.rmtree(root / name)
    (root / "same").mkdir()
    (root / "same/new").write_bytes(b"1")
    (root / "folder").write_bytes(b"now a file")
    (root / "full").symlink_to("etc")
    os.chmod(root / "able", 0o700)
    with open(root / "linked", "ab") as file:
        file.write(b"more")


def seen(container: Container) -> dict[str, Any]:
    """What a container shows, but for its root, whose attributes are not a layer's."""
    with container.root() as root:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            found = shown(fd)
        finally:
            os.close(fd)
    del found["."]
    return found


def test_the_next_container_sees_what_this_one_saw(stage: Stage) -> None:
    first = stage.container().did(everything)
    before = seen(first)
    assert stat.S_ISSOCK(before.pop("new/sock")[0])
    first.committed()
    after = seen(stage.container())
    assert after.keys() == before.keys()
    for path, values in before.items():
        assert after[path] == values, path


def tar_of(stage: Stage) -> bytes:
    fd = stage.layers.open_tar(stage.stack[-1])
    with open(fd, "rb") as file:
        return file.read()


def test_the_same_files_make_the_same_layer(stage: Stage) -> None:
    one, other = stage.container().did(everything), stage.container().did(everything)
    # Copies into another order of creation: times are what differs, and are made equal.
    made = [container.made(latest=0, owner=[0, 0])["diff_id"] for container in (one, other)]
    assert made[0] == made[1]


def test_the_tar_is_one_that_others_read(stage: Stage) -> None:
    stage.container().did(everything).committed(latest=1_600_000_000, owner=[5, 6])
    with tarfile.open(fileobj=io.BytesIO(tar_of(stage))) as tar:
        members = {entry.name: entry for entry in tar}
        assert {(entry.uid, entry.gid) for entry in members.values() if "/.wh." not in f"/{entry.name}"} == {(5, 6)}
        assert max(entry.mtime for entry in members.values()) == 1_600_000_000
        assert {name for name in members if ".wh." in name} == {".wh.swap", ".wh.top", "same/.wh..wh..opq"}
        assert members["new/deep/file"].type == tarfile.LNKTYPE and members["new/deep/file"].linkname == "new/again"
        assert members["new/sparse"].size == 20 << 20 and "new/sock" not in members
        content = tar.extractfile(members["new/sparse"])
        assert content and content.read() == bytes(5 << 20) + b"x" * 70_000 + bytes((15 << 20) - 70_000)
    listed = subprocess.run(["tar", "--numeric-owner", "-t"], input=tar_of(stage), capture_output=True)
    assert listed.returncode == 0 and len(listed.stdout.splitlines()) == len(members)
    # A file with a fraction of a second keeps it, unless told.
    other = stage.container().did(lambda root: (root / "now").write_bytes(b""))
    exact = os.stat(other.upper / "now").st_mtime_ns
    other.committed()
    with tarfile.open(fileobj=io.BytesIO(tar_of(stage))) as tar:
        text = tar.getmember("now").pax_headers["mtime"]
    assert int(text.replace(".", "").ljust(19, "0")) == exact


def test_holes_stay_holes_on_the_disk(stage: Stage) -> None:
    container = stage.container()
    (container.upper / "hole").write_bytes(b"")
    os.truncate(container.upper / "hole", 1 << 30)
    answer = container.made()
    assert answer["tar_bytes"] > 1 << 30 and answer["size"] == 1 << 30
    files = [path for path in container.ingest.rglob("*") if path.is_file()]
    assert sum(path.stat().st_blocks * 512 for path in files) < 4 << 20


def test_what_the_engine_makes_for_its_mounts_is_no_change(stage: Stage) -> None:
    def mount_points(root: Path) -> None:
        for name in ("dev", "proc", "sbin"):
            (root / name).mkdir()
        for name in ("etc/hosts", "etc/hostname", "sbin/docker-init"):
            (root / name).write_bytes(b"")

    container = stage.container().did(mount_points)
    assert container.listed() is None
    container.committed()
    with tarfile.open(fileobj=io.BytesIO(tar_of(stage))) as tar:
        assert tar.getnames() == []  # nor is `etc`, which the layers have and which was copied up
    owned = stage.container().did(mount_points).did(lambda root: os.chmod(root / "etc", 0o700))
    assert owned.listed() == [{"Path": "/etc", "Kind": 0}]
    changed = stage.container().did(mount_points)
    (changed.upper / "etc/hosts").write_bytes(b"127.0.0.1 x\n")
    os.chmod(changed.upper / "dev", 0o700)
    (changed.upper / "sbin/mine").write_bytes(b"")
    assert changed.listed() == [
        {"Path": "/dev", "Kind": 1},
        {"Path": "/etc", "Kind": 0},
        {"Path": "/etc/hosts", "Kind": 1},
        {"Path": "/sbin", "Kind": 1},
        {"Path": "/sbin/mine", "Kind": 1},
    ]


def test_the_list_of_changes_is_dockers(stage: Stage) -> None:
    def act(root: Path) -> None:
        everything(root)
        shutil.rmtree(root / "new")
        (root / "a\"b\n").write_bytes(b"")
        (root / os.fsdecode(b"\xff")).mkdir()
        os.chmod(root / "etc", 0o700)

    listed = stage.container().did(act).listed()
    assert listed == [
        {"Path": "/a\"b\n", "Kind": 1},
        {"Path": "/able", "Kind": 0},
        {"Path": "/etc", "Kind": 0},
        {"Path": "/etc/name", "Kind": 0},
        {"Path": "/folder", "Kind": 0},
        {"Path": "/full", "Kind": 0},
        {"Path": "/linked", "Kind": 0},
        {"Path": "/same", "Kind": 0},
        {"Path": "/same/kept", "Kind": 2},
        {"Path": "/same/new", "Kind": 1},
        {"Path": "/swap", "Kind": 2},
        {"Path": "/swapped", "Kind": 1},
        {"Path": "/top", "Kind": 2},
        {"Path": "/\ufffd", "Kind": 1},
    ]
    assert stage.container().listed() is None


def test_what_is_as_it_was_is_no_change(stage: Stage) -> None:
    """Copied up, made again, put back: what counts is what is seen."""

    def act(root: Path) -> None:
        os.chmod(root / "etc/name", 0o600)
        os.chmod(root / "etc/name", 0o644)
        info = os.stat(root / "same/kept")
        shutil.rmtree(root / "same")
        (root / "same").mkdir()
        (root / "same/kept").write_bytes(b"3")
        os.utime(root / "same/kept", ns=(info.st_atime_ns, info.st_mtime_ns))
        (root / "brief").write_bytes(b"")
        os.unlink(root / "brief")

    assert stage.container().did(act).listed() is None


def test_a_changed_capability_is_a_change(stage: Stage) -> None:
    def act(root: Path) -> None:
        info = os.stat(root / "able")
        os.removexattr(root / "able", "security.capability")
        os.utime(root / "able", ns=(info.st_atime_ns, info.st_mtime_ns))

    assert stage.container().did(act).listed() == [{"Path": "/able", "Kind": 0}]


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda root: (root / ".wh.x").write_bytes(b""), "'.wh.x': names that begin with .wh. mean a removal"),
        (lambda root: os.setxattr(root / "new", "trusted.overlay.redirect", b"/etc"), "'new': it was renamed by overlayfs's redirect_dir"),
        (lambda root: os.setxattr(root / "new", "trusted.overlay.metacopy", b""), "'new': overlayfs's metacopy left its content"),
        (lambda root: os.setxattr(root / "new", "trusted.overlay.opaque", b"x"), "'new': overlayfs marked the folder with 'x'"),
        (lambda root: os.truncate(root / "big", 1 << 41), "'big': a file of 2199023255552 bytes: the limit is"),
    ],
)
def test_what_no_layer_can_say_is_refused_by_name(stage: Stage, act: Act, reason: str) -> None:
    container = stage.container()
    upper = container.upper
    (upper / "new").mkdir()
    (upper / "big").write_bytes(b"")
    act(upper)
    with pytest.raises(BadArchive, match=reason):
        container.made()


def test_more_folders_in_each_other_than_a_layer_has(stage: Stage) -> None:
    container = stage.container()
    fd = os.open(container.upper, os.O_RDONLY)
    for _ in range(520):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    with pytest.raises(BadArchive, match="more than 512 folders in each other"):
        container.made()


def test_a_container_that_changes_its_files_meanwhile(stage: Stage) -> None:
    """Without a pause: folders become links, files come and go; the tar is sound and nothing outside is in it."""
    container = stage.container()
    upper = container.upper
    secret = stage.folder / "secret"
    secret.mkdir()
    (secret / "key").write_bytes(b"SECRET")
    script = f"""
import os, itertools
os.chdir({str(upper)!r})
for n in range(40):
    os.makedirs(f"d{{n}}/key", exist_ok=True)
open("file", "wb").write(b"x" * 3_000_000)
print("ready", flush=True)
for n in itertools.count():
    name = f"d{{n % 40}}"
    os.rename(name, "aside")
    os.symlink({str(secret)!r}, name)
    os.truncate("file", n * 7919 % 3_000_000)
    os.unlink(name)
    os.rename("aside", name)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as busy:
        try:
            assert busy.stdout and busy.stdout.readline() == b"ready\n"
            for number in range(5):
                answer = container.made()
                data = (container.ingest / "layers/0/layer.tar").read_bytes() if stage.kind == "erofs" else b""
                assert b"SECRET" not in data and answer["tar_bytes"] % 512 == 0
                os.rename(container.ingest, stage.folder / f"done{number}")
                container.ingest.mkdir()
        finally:
            busy.kill()
    if stage.kind == "unpacked":
        assert not [path for path in stage.folder.glob("done*/**/key") if path.is_file()]


def test_a_full_disk_is_named(stage: Stage) -> None:
    container = stage.container()
    (container.upper / "big").write_bytes(os.urandom(1 << 20) * 98)
    small = mounts.new_filesystem("tmpfs", {"size": "100m"})
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=small)
    try:
        with pytest.raises(Unavailable, match=r"changes: no space left on the disk after \d+ bytes"):
            container.made(folder)
    finally:
        os.close(folder)
        os.close(small)
