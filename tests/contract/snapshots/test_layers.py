"""One suite for both kinds of layers, and for the snapshots over them. Needs root."""

import asyncio
import contextlib
import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pier.archive.layer import Budget, Intake
from pier.archive.limits import DEFAULT
from pier.errors import Conflict, Internal, Invalid, NotFound, Unavailable
from pier.linux import mounts
from pier.snapshots import ErofsLayers, LayerStore, Snapshots, UnpackedLayers, probe
from tests.unit.archive import tars

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")

BASE = tars.tar(tars.file(b"etc/name", b"base"), tars.file(b"etc/gone", b"x"), tars.file(b"bin/tool", b"#!", mode=0o755), tars.file(b"opaque/lower"))
TOP = tars.tar(tars.file(b"etc/name", b"top"), tars.file(b"etc/.wh.gone"), tars.file(b"opaque/.wh..wh..opq"), tars.file(b"opaque/upper"))


class Keeper:
    """Holds descriptors as the keeper does."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str | None], int] = {}

    async def hold(self, key: str, name: str, fd: int) -> None:
        self.held[key, name] = os.dup(fd)

    async def fetch(self, key: str, name: str) -> int:
        return os.dup(self.held[key, name])

    async def release(self, key: str, name: str | None = None) -> None:
        os.close(self.held.pop((key, name)))


def diff_id(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def taken_in(data: bytes, folder: Path, kind: str) -> Path:
    folder.mkdir(parents=True)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    intake = Intake(fd, Budget(fd, DEFAULT))
    view = io.BytesIO(data)
    intake.read(lambda: view.read(100_000))
    intake.finish(kind)
    intake.close()
    os.close(fd)
    return folder


@pytest.fixture(params=["erofs", "unpacked"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "erofs" and (fault := probe.try_erofs(tmp_path)):
        pytest.skip(fault)
    return str(request.param)


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    keeper = Keeper()
    yield keeper
    for fd in keeper.held.values():
        os.close(fd)


@pytest.fixture
def layers(kind: str, tmp_path: Path, keeper: Keeper) -> Iterator[Any]:
    store = made(kind, tmp_path, keeper)
    yield store
    store.close()


def made(kind: str, tmp_path: Path, keeper: Keeper) -> Any:
    return ErofsLayers(tmp_path / "layers", keeper) if kind == "erofs" else UnpackedLayers(tmp_path / "layers")


@pytest.fixture
def snapshots(layers: LayerStore, kind: str, tmp_path: Path) -> Iterator[Snapshots]:
    for number, data in enumerate((BASE, TOP)):
        layers.adopt(diff_id(data), taken_in(data, tmp_path / f"in{number}", kind))
    found = Snapshots(tmp_path, layers)
    yield found
    found.close()


@contextlib.contextmanager
def mounted(snapshots: Snapshots, id: str) -> Iterator[Path]:
    """The root of a container, in a process's own place: /proc/self/fd/N of a detached overlay."""
    root = asyncio.run(snapshots.rootfs(id))
    fd = mounts.mount_overlay(root.lowers, root.upper, root.work)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def test_adopting_is_moving_in_once(layers: Any, kind: str, tmp_path: Path) -> None:
    source = taken_in(BASE, tmp_path / "one", kind)
    assert not layers.has(diff_id(BASE)) and layers.list() == [] and layers.kind == kind
    layers.adopt(diff_id(BASE), source)
    assert layers.has(diff_id(BASE)) and layers.list() == [diff_id(BASE)] and not source.exists()
    again = taken_in(BASE, tmp_path / "two", kind)
    inode = (layers.root / diff_id(BASE)[7:]).stat().st_ino
    layers.adopt(diff_id(BASE), again)
    assert (layers.root / diff_id(BASE)[7:]).stat().st_ino == inode and again.exists()
    tar_bytes, disk_bytes = layers.size(diff_id(BASE))
    assert tar_bytes == len(BASE) and disk_bytes > 4096


def test_half_a_layer_is_no_layer_and_makes_room(layers: Any, kind: str, tmp_path: Path) -> None:
    half = layers.root / diff_id(BASE)[7:]
    half.mkdir()
    (half / "layer.tar").write_bytes(BASE[:100])
    assert not layers.has(diff_id(BASE)) and layers.list() == []
    layers.adopt(diff_id(BASE), taken_in(BASE, tmp_path / "one", kind))
    assert layers.has(diff_id(BASE))


def test_what_the_worker_did_not_make_is_not_adopted(layers: Any, kind: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises((Internal, FileNotFoundError)):
        layers.adopt(diff_id(BASE), tmp_path / "empty")
    source = taken_in(BASE, tmp_path / "links", kind)
    name = "layer.tar" if kind == "erofs" else "fs"
    (source / name).rename(source / "aside")
    (source / name).symlink_to("/etc")
    with pytest.raises(Internal):
        layers.adopt(diff_id(BASE), source)
    assert layers.list() == []


def test_names_that_are_paths_are_no_diff_ids(layers: Any, tmp_path: Path) -> None:
    for name in ("sha256:../../etc", "", "sha256:" + "A" * 64, "x" * 64, "sha256:" + "0" * 63 + "/"):
        for verb in (layers.has, layers.remove, layers.size, layers.tar_bytes, layers.open_tar):
            with pytest.raises(Internal):
                verb(name)


def test_the_tar_comes_out_as_it_went_in(layers: Any, kind: str, tmp_path: Path) -> None:
    layers.adopt(diff_id(TOP), taken_in(TOP, tmp_path / "one", kind))
    fd = layers.open_tar(diff_id(TOP))
    with open(fd, "rb") as file:
        assert file.read() == TOP
    with pytest.raises(NotFound):
        layers.open_tar(diff_id(BASE))


def test_a_damaged_layer_is_named(layers: Any, kind: str, tmp_path: Path) -> None:
    layers.adopt(diff_id(TOP), taken_in(TOP, tmp_path / "one", kind))
    assert layers.tar_bytes(diff_id(TOP)) == len(TOP)
    with pytest.raises(NotFound, match=diff_id(BASE)):
        layers.tar_bytes(diff_id(BASE))
    folder = layers.root / diff_id(TOP)[7:]
    if kind == "erofs":
        os.truncate(folder / "layer.tar", len(TOP) - 512)
    else:
        (folder / "layer.json").write_text("{}")
    with pytest.raises(Internal, match=f"layer {diff_id(TOP)} is damaged"):
        layers.tar_bytes(diff_id(TOP))
    os.truncate(folder / ("layer.erofs" if kind == "erofs" else "layer.json"), 0)
    with pytest.raises(Internal, match="damaged"):
        layers.tar_bytes(diff_id(TOP))


def test_removing_is_quiet_where_nothing_is(layers: Any, kind: str, tmp_path: Path) -> None:
    layers.remove(diff_id(BASE))
    layers.adopt(diff_id(BASE), taken_in(BASE, tmp_path / "one", kind))
    layers.remove(diff_id(BASE))
    layers.wait_removed()
    assert layers.list() == [] and os.listdir(layers.root) == [".trash"] and os.listdir(layers.root / ".trash") == []


def test_a_container_sees_its_layers_and_writes_its_own(snapshots: Snapshots) -> None:
    snapshots.create("one", [diff_id(BASE), diff_id(TOP)])
    snapshots.create("two", [diff_id(BASE)])
    with mounted(snapshots, "one") as one, mounted(snapshots, "two") as two:
        assert (one / "etc/name").read_text() == "top" and (two / "etc/name").read_text() == "base"
        assert os.listdir(one / "opaque") == ["upper"] and os.listdir(two / "opaque") == ["lower"]
        assert sorted(os.listdir(one / "etc")) == ["name"] and sorted(os.listdir(two / "etc")) == ["gone", "name"]
        (one / "etc/name").write_text("mine")
        assert (two / "etc/name").read_text() == "base"
        assert os.stat(one).st_mode & 0o7777 == 0o755
    assert snapshots.usage("one") == 4 and snapshots.usage("two") == 0
    with mounted(snapshots, "one") as one:
        assert (one / "etc/name").read_text() == "mine"


def test_a_chain_without_layers_and_one_with_a_layer_twice(snapshots: Snapshots) -> None:
    snapshots.create("empty", [])
    snapshots.create("twice", [diff_id(TOP), diff_id(BASE), diff_id(TOP)])
    with mounted(snapshots, "empty") as empty, mounted(snapshots, "twice") as twice:
        assert os.listdir(empty) == [] and (twice / "etc/name").read_text() == "top" and os.listdir(twice / "opaque") == ["upper"]


def test_creating_is_refused_with_the_reason(snapshots: Snapshots) -> None:
    snapshots.create("one", [diff_id(BASE)])
    with pytest.raises(Conflict, match="has a writable layer already"):
        snapshots.create("one", [diff_id(BASE)])
    with pytest.raises(NotFound, match="is not there: load the image"):
        snapshots.create("two", [diff_id(b"never")])
    for id in ("../x", "", ".pool", "a/b", "a\0b"):
        with pytest.raises(Internal, match="is not an ID"):
            snapshots.create(id, [])
    with pytest.raises(NotFound):
        asyncio.run(snapshots.rootfs("two"))
    with pytest.raises(NotFound):
        snapshots.usage("two")
    assert snapshots.list() == ["one"]


def test_create_does_not_need_the_pool(snapshots: Snapshots) -> None:
    for number in range(30):
        snapshots.create(f"c{number}", [diff_id(BASE)])
    assert len(snapshots.list()) == 30 and len({os.stat(snapshots.root / id).st_ino for id in snapshots.list()}) == 30


def test_the_next_daemon_finds_everything(snapshots: Snapshots, layers: Any, kind: str, tmp_path: Path, keeper: Keeper) -> None:
    snapshots.create("one", [diff_id(BASE), diff_id(TOP)])
    snapshots.create("lost", [diff_id(BASE)])
    with mounted(snapshots, "one") as one:
        (one / "new").write_text("12345")
    (snapshots.root / ".trash/7").mkdir()
    later = made(kind, tmp_path, keeper)
    second = Snapshots(tmp_path, later)
    try:
        assert second.list() == ["lost", "one"] and second.usage("one") == 5
        lines = asyncio.run(second.repair({"one", "other"}))
        assert lines == [
            "removed the writable layer of container lost, which has no record",
            "container other has lost its writable layer: remove it",
        ]
        with mounted(second, "one") as one:
            assert (one / "new").read_text() == "12345" and (one / "etc/name").read_text() == "top"
        second.wait_removed()
        assert second.list() == ["one"] and os.listdir(second.root / ".trash") == []
        assert asyncio.run(second.repair({"one"})) == []
        second.create("third", [diff_id(BASE)])
        with mounted(second, "third") as third:
            assert (third / "etc/name").read_text() == "base"
    finally:
        second.close()
        later.close()


def test_removing_never_follows_a_link_and_takes_any_depth(snapshots: Snapshots, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").write_text("keep")
    snapshots.create("one", [diff_id(BASE)])
    upper = snapshots.root / "one/upper"
    (upper / "link").symlink_to(precious)
    (upper / "file-link").symlink_to(precious / "data")
    os.link(precious / "data", upper / "hard")
    fd = os.open(upper, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    (upper / "fixed").mkdir()
    (upper / "fixed/file").write_text("x")
    subprocess.run(["chattr", "+i", upper / "fixed/file", upper / "fixed"], check=True)
    (upper / "sealed").mkdir(mode=0)
    assert snapshots.usage("one") > 0
    snapshots.remove("one")
    assert snapshots.list() == []
    snapshots.wait_removed()
    assert os.listdir(snapshots.root / ".trash") == []
    assert (precious / "data").read_text() == "keep" and os.stat(precious / "data").st_nlink == 1
    snapshots.remove("one")


def test_a_link_in_the_place_of_a_snapshot_is_not_followed(snapshots: Snapshots, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/data").write_text("keep")
    (snapshots.root / "evil").symlink_to(tmp_path / "precious")
    snapshots.remove("evil")
    snapshots.wait_removed()
    assert (tmp_path / "precious/data").exists() and not (snapshots.root / "evil").is_symlink()


def test_usage_counts_as_docker_does(snapshots: Snapshots) -> None:
    snapshots.create("one", [])
    upper = snapshots.root / "one/upper"
    (upper / "a").write_bytes(b"x" * 1000)
    os.link(upper / "a", upper / "b")
    (upper / "d").mkdir()
    (upper / "d/c").write_bytes(b"y" * 10)
    os.mknod(upper / "gone", 0o20000, 0)
    os.truncate(upper / "d/c", 5000)
    assert snapshots.usage("one") == 6000


def test_inspect_says_where_things_lie(snapshots: Snapshots) -> None:
    snapshots.create("one", [diff_id(BASE), diff_id(TOP)])
    said = snapshots.describe("one")
    assert [os.path.basename(path) for path in said["LowerDir"].split(":")] == [diff_id(TOP)[7:], diff_id(BASE)[7:]]
    assert said["UpperDir"] == str(snapshots.root / "one/upper")
    assert dict(snapshots.status())["Backing Filesystem"] == probe.filesystem_of(snapshots.root) != "unknown"


class TestMounts:
    """What only the mounted kind has."""

    @pytest.fixture
    def kind(self, tmp_path: Path) -> str:
        if fault := probe.try_erofs(tmp_path):
            pytest.skip(fault)
        return "erofs"

    def test_a_layer_is_mounted_once_whoever_asks(self, snapshots: Snapshots, keeper: Keeper) -> None:
        for number in range(10):
            snapshots.create(f"c{number}", [diff_id(BASE), diff_id(TOP)])

        async def go() -> None:
            roots = await asyncio.gather(*[snapshots.rootfs(f"c{n}") for n in range(10)])
            assert len({root.lowers for root in roots}) == 1 and len(keeper.held) == 2

        asyncio.run(go())

    def test_the_keeper_gives_the_next_daemon_the_same_mount(self, snapshots: Snapshots, layers: Any, tmp_path: Path, keeper: Keeper) -> None:
        snapshots.create("one", [diff_id(BASE)])
        (first,) = asyncio.run(snapshots.rootfs("one")).lowers
        assert isinstance(first, int)
        later = ErofsLayers(tmp_path / "layers", keeper)
        second = asyncio.run(later.lower(diff_id(BASE), "one"))
        assert isinstance(second, int) and second != first
        assert os.fstat(first).st_dev == os.fstat(second).st_dev
        later.close()

    def test_data_is_in_memory_once(self, layers: Any, tmp_path: Path) -> None:
        """Fifty containers read one file of a layer: its pages are those of one superblock."""
        size = 24 << 20
        data = tars.tar(tars.header(b"big", size=size), os.urandom(size))
        layers.adopt(diff_id(data), taken_in(data, tmp_path / "one", "erofs"))
        found = Snapshots(tmp_path, layers)
        with contextlib.ExitStack() as stack:
            roots = []
            for number in range(50):
                found.create(f"c{number}", [diff_id(data)])
                roots.append(stack.enter_context(mounted(found, f"c{number}")))
            before = cached_bytes()
            for root in roots:
                with open(root / "big", "rb") as file:
                    while file.read(1 << 20):
                        pass
            # The machine does other things meanwhile; fifty copies would be 1,200 MiB.
            assert cached_bytes() - before < 20 * size
        found.close()

    def test_a_removed_layer_lives_on_in_the_containers_that_have_it(self, snapshots: Snapshots, layers: Any, keeper: Keeper) -> None:
        snapshots.create("one", [diff_id(BASE)])

        async def go() -> None:
            root = await snapshots.rootfs("one")
            fd = mounts.mount_overlay(root.lowers, root.upper, root.work)
            layers.remove(diff_id(BASE))
            layers.wait_removed()
            assert Path(f"/proc/self/fd/{fd}/etc/name").read_text() == "base"
            os.close(fd)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not keeper.held
            with pytest.raises(NotFound):
                await snapshots.rootfs("one")

        asyncio.run(go())

    def test_idle_mounts_are_bounded(self, layers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pier.snapshots.layers._IDLE_MOUNTS", 1)
        datas = [tars.tar(tars.file(b"f", b"%d" % n)) for n in range(3)]
        for number, data in enumerate(datas):
            layers.adopt(diff_id(data), taken_in(data, tmp_path / f"l{number}", "erofs"))

        async def go() -> None:
            fds = [await layers.lower(diff_id(data), "one") for data in datas]
            await layers.lower(diff_id(datas[0]), "two")
            layers.let_go("one")
            os.fstat(fds[0])
            os.fstat(fds[2])
            with pytest.raises(OSError, match="Bad file"):
                os.fstat(fds[1])

        asyncio.run(go())

    def test_a_damaged_index_is_an_error_that_names_the_layer(self, snapshots: Snapshots, layers: Any) -> None:
        (layers.root / diff_id(BASE)[7:] / "layer.erofs").write_bytes(bytes(8192))
        snapshots.create("one", [diff_id(BASE)])
        with pytest.raises(Unavailable, match=f"layer {diff_id(BASE)[7:]} cannot be mounted"):
            asyncio.run(snapshots.rootfs("one"))

    def test_layers_unpacked_before_are_used_as_they_are(self, layers: Any, tmp_path: Path) -> None:
        taken_in(BASE, layers.root / diff_id(BASE)[7:], "unpacked")
        assert asyncio.run(layers.lower(diff_id(BASE), "one")) == str(layers.root / diff_id(BASE)[7:] / "fs")


def cached_bytes() -> int:
    (line,) = [line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("Cached:")]
    return int(line.split()[1]) * 1024


def test_an_index_where_it_cannot_be_mounted_is_named(tmp_path: Path) -> None:
    layers = UnpackedLayers(tmp_path / "layers")
    taken_in(BASE, tmp_path / "layers" / diff_id(BASE)[7:], "erofs")
    with pytest.raises(Unavailable, match="remove its image and load it again"):
        asyncio.run(layers.lower(diff_id(BASE), "one"))
    layers.close()


@pytest.mark.parametrize("store", [UnpackedLayers, ErofsLayers])
def test_files_that_are_unpacked_get_their_label(store: Any, tmp_path: Path) -> None:
    layers = store(tmp_path / "layers", label="system_u:object_r:container_file_t:s0")
    files = taken_in(BASE, tmp_path / "layers" / diff_id(BASE)[7:], "unpacked") / "fs"
    assert asyncio.run(layers.lower(diff_id(BASE), "one")) == str(files)
    seen = {os.getxattr(path, "security.selinux", follow_symlinks=False) for path in (files, *files.rglob("*"))}
    assert seen == {b"system_u:object_r:container_file_t:s0"}
    layers.close()


def test_the_choice_of_a_kind(tmp_path: Path) -> None:
    assert probe.choose(tmp_path, "unpacked").kind == "unpacked"
    assert probe.choose(tmp_path, "", "-erofs,-overlay_fd") == probe.Choice("unpacked", "PIER_FEATURES has -erofs")
    if not probe.try_erofs(tmp_path):
        assert [probe.choose(tmp_path, "", text).attached for text in ("", "-overlay_fd", "-overlay_append")] == [False, True, True]
    if not probe.try_erofs(tmp_path, loops=True):
        chosen = probe.choose(tmp_path, "erofs", "-erofs_file")
        assert (chosen.kind, chosen.loops, chosen.attached) == ("erofs", True, False)
    with pytest.raises(Unavailable, match="storage driver erofs cannot be used"):
        probe.choose(tmp_path, "erofs", "-erofs")
    with pytest.raises(Invalid, match="'aufs' is not known"):
        probe.choose(tmp_path, "aufs")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("without", ["-erofs_loops", ""])
def test_on_tmpfs_an_index_needs_loop_devices(tmp_path: Path, without: str) -> None:
    """In a mount namespace of its own: the kernel mounts no EROFS from a file on tmpfs (ENOTBLK)."""
    code = f"from pathlib import Path; from pier.snapshots import probe; print(probe.choose(Path({str(tmp_path)!r}), '', {without!r}))"
    command = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs none {tmp_path} && exec {sys.executable} -c "$0"', code]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if without or probe.try_erofs(tmp_path, loops=True):
        assert "kind='unpacked'" in said and "cannot be mounted" in said
    else:
        assert "kind='erofs'" in said and "loops=True" in said
