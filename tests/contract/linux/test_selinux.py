"""Labels of trees of files: on a kernel without SELinux they are an attribute like any other of `security`, which root may set."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from pier.linux import selinux

OWN, OTHER = "system_u:object_r:container_file_t:s0:c1,c2", "system_u:object_r:container_file_t:s0"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/file").write_text("file")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    (tree / "link").symlink_to(tmp_path / "outside/secret")
    (tree / "a/folder").symlink_to(tmp_path / "outside")
    os.mkfifo(tree / "a/fifo")
    os.mkfifo(tree / "a/\udcff")
    try:
        os.setxattr(tree, selinux.ATTRIBUTE, b"other_u:object_r:other_t:s0")
    except PermissionError:
        pytest.skip("setting attributes of `security` needs root")
    except OSError as error:
        pytest.skip(f"no such attributes here: {error.strerror}")
    return tree


def relabel(path: Path, label: str) -> int:
    fd = os.open(path, os.O_PATH)
    try:
        return selinux.relabel(fd, label, str(path))
    finally:
        os.close(fd)


def label(path: Path) -> str:
    try:
        return os.getxattr(path, selinux.ATTRIBUTE, follow_symlinks=False).decode()
    except OSError:
        return ""


def test_a_whole_tree_and_nothing_else(tree: Path) -> None:
    everything = [tree, *tree.rglob("*")]
    before = {path: label(path) for path in tree.parent.rglob("*") if path not in everything}
    assert relabel(tree, OWN) == len(everything) == 8
    assert {label(path) for path in everything} == {OWN}, "links, FIFOs and odd names have labels, too"
    assert {path: label(path) for path in before} == before, "no link is followed"
    assert relabel(tree, OWN) == 0, "what has it already is not written again"
    os.setxattr(tree / "a/file", selinux.ATTRIBUTE, f"{OTHER}\0".encode())
    assert relabel(tree, OTHER) == len(everything) - 1, "the kernel's own end in a NUL"


def test_a_file_alone(tree: Path) -> None:
    assert relabel(tree / "a/file", OWN) == 1
    assert (label(tree / "a/file"), label(tree / "a")) == (OWN, label(tree / "a/b"))


def test_a_tree_without_end_is_left(tree: Path) -> None:
    """A container can make folders deeper than any path, and the daemon has only so many descriptors."""
    at = os.open(tree, os.O_RDONLY)
    for _ in range(selinux.MAX_DEPTH + 2):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    open_before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="folders deep") as raised:
        relabel(tree, OWN)
    assert raised.value.errno == errno.ELOOP and str(raised.value.filename).startswith(str(tree))
    assert len(os.listdir("/proc/self/fd")) == open_before
    shutil.rmtree(tree)


def test_a_file_system_without_labels_is_left_out(tmp_path: Path) -> None:
    fd = os.open("/proc/self/attr", os.O_PATH | os.O_DIRECTORY)
    try:
        assert selinux.relabel(fd, OWN, "/proc/self/attr") == 0
    finally:
        os.close(fd)


def test_a_layer_gets_its_label_once_and_last(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that is killed on the way labels it again."""
    set_one = os.setxattr
    done: list[str] = []

    def dies(path: str, *arguments: object, **options: object) -> None:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(path)
        set_one(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "setxattr", dies)
    with pytest.raises(KeyboardInterrupt):
        selinux.label_tree(str(tree), OTHER)
    monkeypatch.setattr(os, "setxattr", set_one)
    assert label(tree) != OTHER
    selinux.label_tree(str(tree), OTHER)
    assert {label(path) for path in [tree, *tree.rglob("*")]} == {OTHER}
    os.setxattr(tree / "a/file", selinux.ATTRIBUTE, OWN.encode())
    selinux.label_tree(str(tree), OTHER)
    assert label(tree / "a/file") == OWN, "it is not looked into again"
