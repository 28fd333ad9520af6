"""One layer, two kinds: the mounted index and the unpacked files show the same, to the last attribute.

Needs root and a kernel that mounts EROFS from a file; without the latter the unpacked half is compared with the tree only.
"""

import hashlib
import io
import os
import stat
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.archive import skeleton
from pier.archive.layer import FILES, SKELETON, Budget, Intake
from pier.archive.limits import DEFAULT
from pier.archive.refusal import BadArchive
from pier.linux import mounts
from pier.snapshots.probe import try_erofs
from tests.unit.archive import tars

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making devices, owners and mounts needs root")

ACL = bytes.fromhex("0200000001000700ffffffff02000600e803000004000500ffffffff10000700ffffffff20000500ffffffff")
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


def xattrs(*pairs: tuple[bytes, bytes]) -> bytes:
    return tars.pax([(b"SCHILY.xattr." + key, value) for key, value in pairs])


def sparse(name: bytes, pieces: list[tuple[int, bytes]], size: int) -> bytes:
    listed = b",".join(b"%d,%d" % (at, len(data)) for at, data in pieces)
    records = [(b"GNU.sparse.major", b"0"), (b"GNU.sparse.minor", b"1"), (b"GNU.sparse.map", listed), (b"GNU.sparse.realsize", b"%d" % size)]
    return tars.pax(records) + tars.file(name, b"".join(data for _, data in pieces))


CORPUS = {
    "empty": tars.tar(),
    "plain files": tars.tar(*[tars.file(b"f%d" % n, b"x" * n, mode=0o600 + n % 64) for n in (0, 1, 511, 512, 513, 4096, 70_000)]),
    "modes": tars.tar(tars.file(b"suid", b"1", mode=0o4755), tars.folder(b"tmp", 0o1777), tars.folder(b"sgid", 0o2750), tars.file(b"none", mode=0)),
    "owners": tars.tar(tars.header(b"a", uid=1000), tars.header(b"b", uid=tars.base256(4_000_000_000, 8)), tars.folder(b"d", uid=65534)),
    "times": tars.tar(tars.pax([(b"mtime", b"1234567890.123456789")]), tars.file(b"a"), tars.header(b"b", mtime=0), tars.folder(b"d", mtime=5)),
    "root": tars.tar(tars.folder(b"./", 0o711, uid=7, mtime=99), tars.file(b"./a")),
    "implied": tars.tar(tars.file(b"a/b/c/d", b"1"), tars.file(b"a/b/e")),
    "links": tars.tar(
        tars.symlink(b"short", b"x"), *[tars.gnu_long(b"t" * n, b"K") + tars.symlink(b"l%d" % n, b"x") for n in (100, 440, 448, 449, 600, 4095)]
    ),
    "hard links": tars.tar(
        tars.file(b"a", b"12"),
        tars.hardlink(b"b", b"a"),
        tars.folder(b"d"),
        tars.hardlink(b"d/c", b"b"),
        tars.symlink(b"s", b"a"),
        tars.hardlink(b"t", b"s"),
    ),
    "devices": tars.tar(
        tars.header(b"null", b"3", device=(1, 3)), tars.header(b"b", b"4", device=(259, 70_000)), tars.header(b"p", b"6", mode=0o622)
    ),
    "whiteouts": tars.tar(tars.file(b"d/.wh.x"), tars.file(b"o/.wh..wh..opq"), tars.file(b"o/y"), tars.file(b".wh.z"), tars.folder(b"z")),
    "duplicates": tars.tar(
        tars.file(b"a", b"old" * 400), tars.file(b"a", b"new"), tars.file(b"d/x", b"1"), tars.file(b"d", b"2"), tars.symlink(b"a2", b"q")
    ),
    "attributes": tars.tar(
        xattrs((b"user.a", b"1"), (b"trusted.t", b"\0" * 300), (b"security.capability", CAPABILITY)) + tars.file(b"f", b"1"),
        xattrs((b"user.big", b"v" * 3000)) + tars.folder(b"d"),
        xattrs((b"trusted.on.link", b"v"), (b"user.no", b"v")) + tars.symlink(b"l", b"t" * 90),
        xattrs((b"trusted.dev", b"v" * 50)) + tars.header(b"null", b"3", device=(1, 3)),
        xattrs((b"user.h", b"v")) + tars.file(b"h1", b"1"),
        tars.hardlink(b"h2", b"h1"),
    ),
    "acls": tars.tar(
        xattrs((b"system.posix_acl_access", ACL)) + tars.file(b"f", mode=0o775),
        xattrs((b"system.posix_acl_default", ACL)) + tars.folder(b"d"),
        tars.file(b"d/x"),
    ),
    "sparse": tars.tar(
        sparse(b"s1", [(0, b"a" * 10), (4096, b"b" * 600)], 1 << 20),
        tars.file(b"between", b"1"),
        sparse(b"s2", [(100, b"c" * 100), (777, b"d")], 5000),
        sparse(b"hole", [], 1 << 26),
        tars.hardlink(b"s3", b"s1"),
    ),
    "many names": tars.tar(*[tars.file(b"d/%s%04d" % (b"n" * (n % 90), n), b"%d" % n) for n in range(1500)]),
    "odd names": tars.tar(
        *[tars.file(b"d/" + bytes([n]) + b"x") for n in range(1, 256) if n not in (47,)],
        tars.file(b"!", b"1"),
        tars.gnu_long(b"n" * 255),
        tars.file(b"x"),
    ),
    "deep": tars.tar(tars.gnu_long(b"d/" * 400 + b"f"), tars.file(b"x", b"1")),
    "through links": tars.tar(tars.folder(b"usr/lib"), tars.symlink(b"lib", b"usr/lib"), tars.file(b"lib/x", b"1"), tars.hardlink(b"y", b"lib/x")),
    "trailing bytes": tars.tar(tars.file(b"a", b"1")) + b"\0" * 9216 + b"not zeros, and no multiple of 512",
}


def real_tree() -> bytes:
    """A tar that GNU tar makes of real files."""
    return subprocess.run(
        ["tar", "-C", "/usr/share", "--format=posix", "-cf", "-", "base-files", "perl5", "bash-completion"], capture_output=True
    ).stdout


SPARSE = {"gnu": ["--format=gnu"], "0.0": ["--sparse-version=0.0"], "0.1": ["--sparse-version=0.1"], "1.0": ["--sparse-version=1.0"]}


def sparse_tree(folder: Path, version: str) -> bytes:
    """A tar that GNU tar makes of files with holes: at the start, at the end, 200 of them, nothing else, nothing at all."""
    files = folder / f"sparse-files-{version}"
    files.mkdir()
    pieces: dict[str, list[tuple[int, bytes]]] = {"start": [(1 << 20, b"s" * 5000)], "end": [(0, b"e" * 700)], "all": [], "none": []}
    pieces["many"] = [(n * 65536, b"%d" % n * 100) for n in range(200)]
    for name, parts in pieces.items():
        with open(files / name, "wb") as file:
            for at, data in parts:
                file.seek(at)
                file.write(data)
            file.truncate({"none": 0}.get(name, 20 << 20))
    form = SPARSE[version] if version == "gnu" else ["--format=posix", *SPARSE[version]]
    return subprocess.run(["tar", "-C", files, "--sparse", *form, "-cf", "-", "."], capture_output=True, check=True).stdout


def taken_in(data: bytes, folder: Path, kind: str) -> str:
    folder.mkdir()
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    intake = Intake(fd, Budget(fd, DEFAULT))
    try:
        view = io.BytesIO(data)
        intake.read(lambda: view.read(100_000))
        return intake.finish(kind).diff_id
    finally:
        intake.close()
        os.close(fd)


def shown(root_fd: int) -> dict[str, tuple[object, ...]]:
    """Everything that a container could see of a tree, by path."""
    found: dict[str, tuple[object, ...]] = {}
    inodes: dict[int, str] = {}
    pending = [("", os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=root_fd))]
    while pending:
        path, fd = pending.pop()
        found[path or "."] = described(os.fstat(fd), os.listxattr(fd), lambda key, fd=fd: os.getxattr(fd, key), b"", "")  # type: ignore[misc]
        for name in os.listdir(fd):
            below = f"{path}/{name}" if path else name
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                pending.append((below, os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)))
                continue
            os.fchdir(fd)
            content = b""
            if stat.S_ISREG(info.st_mode):
                with open(name, "rb") as file:
                    content = hashlib.file_digest(file, "sha256").digest()
            elif stat.S_ISLNK(info.st_mode):
                content = os.readlink(os.fsencode(name))
            same = inodes.setdefault(info.st_ino, below) if info.st_nlink > 1 else ""
            keys = os.listxattr(name, follow_symlinks=False)
            found[below] = described(info, keys, lambda key, name=name: os.getxattr(name, key, follow_symlinks=False), content, same)  # type: ignore[misc]
        os.close(fd)
    # Which name of a hard link is met first depends on the order of folders: compare the sets of names.
    groups: dict[object, frozenset[str]] = {}
    for path, values in found.items():
        groups[values[-1]] = groups.get(values[-1], frozenset()) | {path}
    return {path: (*values[:-1], groups[values[-1]] if values[-1] else "") for path, values in found.items()}


def described(info: os.stat_result, keys: list[str], value: object, content: bytes, same: str) -> tuple[object, ...]:
    size = 0 if stat.S_ISDIR(info.st_mode) else info.st_size
    attributes = {key: value(key) for key in keys if key != "security.selinux"}  # type: ignore[operator]
    return info.st_mode, info.st_uid, info.st_gid, size, info.st_mtime_ns, info.st_rdev, info.st_nlink, attributes, content, same


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    here = os.getcwd()
    yield tmp_path_factory.mktemp("layers")
    os.chdir(here)


@pytest.fixture(scope="module")
def needs_erofs(disk: Path) -> None:
    if fault := try_erofs(disk):
        pytest.skip(f"EROFS: {fault}")


@pytest.mark.parametrize("version", SPARSE)
def test_every_form_of_sparse_entries(version: str, disk: Path, needs_erofs: None) -> None:
    data = sparse_tree(disk, version)
    assert len(data) < 1 << 20
    compared(data, disk / f"sparse-{version}")
    files = disk / f"sparse-files-{version}"
    for name in os.listdir(files):
        assert (disk / f"sparse-{version}/unpacked" / FILES / name).read_bytes() == (files / name).read_bytes()


def test_a_layer_with_ten_gigabytes_of_hole(disk: Path, needs_erofs: None) -> None:
    """What is stored counts: neither time nor disk is spent on the hole."""
    size = 10 << 30
    data = tars.tar(sparse(b"hole", [(size - 10, b"0123456789")], size), tars.file(b"after", b"1"))
    folder = disk / "ten-gigabytes"
    begun = time.process_time()
    for kind in ("erofs", "unpacked"):
        folder.mkdir(exist_ok=True)
        taken_in(data, folder / kind, kind)
    assert time.process_time() - begun < 1
    mount_fd = mounts.mount_erofs(str(folder / "erofs/layer.erofs"), [str(folder / "erofs/layer.tar")])
    try:
        for root in (Path(f"/proc/self/fd/{mount_fd}"), folder / "unpacked" / FILES):
            with open(root / "hole", "rb") as file:
                assert os.fstat(file.fileno()).st_size == size and file.read(4096) == bytes(4096)
                file.seek(size - 15)
                assert file.read() == bytes(5) + b"0123456789"
            assert (root / "after").read_bytes() == b"1"
    finally:
        os.close(mount_fd)
    assert sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()) < 1 << 20


@pytest.mark.parametrize("case", [*CORPUS, "real files"])
def test_both_kinds_show_the_same(case: str, disk: Path, needs_erofs: None) -> None:
    compared(CORPUS[case] if case in CORPUS else real_tree(), disk / case.replace(" ", "-"))


def compared(data: bytes, folder: Path) -> None:
    """AssertionError unless both kinds of the layer show the same, to the last attribute."""
    folder.mkdir()
    diff_id = taken_in(data, folder / "erofs", "erofs")
    assert diff_id == "sha256:" + hashlib.sha256(data).hexdigest() == taken_in(data, folder / "unpacked", "unpacked")
    assert (folder / "erofs/layer.tar").read_bytes() == data
    mount_fd = mounts.mount_erofs(str(folder / "erofs/layer.erofs"), [str(folder / "erofs/layer.tar")])
    files_fd = os.open(folder / "unpacked" / FILES, os.O_RDONLY | os.O_DIRECTORY)
    try:
        mounted, unpacked = shown(mount_fd), shown(files_fd)
        assert mounted.keys() == unpacked.keys()
        for path, values in mounted.items():
            assert values == unpacked[path], path
    finally:
        os.close(mount_fd)
        os.close(files_fd)


@pytest.mark.parametrize("case", [*CORPUS, "real files"])
def test_unpacked_files_give_the_very_tar_again(case: str, disk: Path) -> None:
    data = CORPUS[case] if case in CORPUS else real_tree()
    folder = disk / ("again-" + case.replace(" ", "-"))
    taken_in(data, folder, "unpacked")
    skeleton_fd, files_fd = os.open(folder / SKELETON, os.O_RDONLY), os.open(folder / FILES, os.O_RDONLY)
    try:
        assert b"".join(skeleton.read_tar(skeleton_fd, files_fd)) == data
    finally:
        os.close(skeleton_fd)
        os.close(files_fd)


def test_what_is_unpacked_is_what_tarfile_reads(disk: Path) -> None:
    """An oracle that nobody here wrote."""
    data = real_tree()
    folder = disk / "oracle"
    taken_in(data, folder, "unpacked")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
        assert len(members) > 100
        for member in members:
            path = folder / FILES / member.name
            info = path.lstat()
            assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (member.mode, member.uid, member.gid)
            if member.isreg():
                content = tar.extractfile(member)
                assert content and path.read_bytes() == content.read() and int(info.st_mtime) == int(member.mtime)
            elif member.issym():
                assert os.readlink(path) == member.linkname


def test_a_damaged_skeleton_is_seen(disk: Path) -> None:
    data = CORPUS["plain files"]
    folder = disk / "damaged"
    taken_in(data, folder, "unpacked")
    whole = (folder / SKELETON).read_bytes()
    files_fd = os.open(folder / FILES, os.O_RDONLY)
    (folder / SKELETON).write_bytes(whole[: len(whole) // 2])
    skeleton_fd = os.open(folder / SKELETON, os.O_RDONLY)
    with pytest.raises(BadArchive, match="cut short"):
        b"".join(skeleton.read_tar(skeleton_fd, files_fd))
    (folder / SKELETON).write_bytes(whole)
    (folder / FILES / "f4096").write_bytes(b"short")
    os.lseek(skeleton_fd, 0, os.SEEK_SET)
    with pytest.raises(BadArchive, match="shorter than it was"):
        b"".join(skeleton.read_tar(skeleton_fd, files_fd))
    os.close(skeleton_fd)
    os.close(files_fd)
