"""Paths inside a root that somebody hostile wrote."""

import errno
import os
from pathlib import Path

import pytest

from pier.linux import paths


@pytest.fixture
def root(tmp_path: Path) -> Path:
    inside = tmp_path / "root"
    inside.mkdir()
    (tmp_path / "secret").write_text("outside")
    return inside


def descriptor(root: Path) -> int:
    return paths.open_root(str(root))


def test_links_and_dots_stay_inside(root: Path) -> None:
    (root / "secret").write_text("inside")
    (root / "absolute").symlink_to("/secret")
    (root / "up").symlink_to("../../../../secret")
    fd = descriptor(root)
    for path in ("/absolute", "up", "/../../secret", "x/../../secret".replace("x", ".")):
        assert paths.read_bounded(fd, path, 100) == b"inside"
    os.close(fd)


def test_magic_links_are_refused(root: Path) -> None:
    fd = paths.open_root("/")
    with pytest.raises(OSError) as error:
        paths.look_up(fd, "/proc/self/cwd")
    assert error.value.errno == errno.ELOOP
    os.close(fd)


def test_folders_and_files_are_made_inside_also_behind_dangling_links(root: Path, tmp_path: Path) -> None:
    (root / "run").symlink_to("/var/run/deep")
    (root / "relative").symlink_to("../made/here")
    (root / "file").symlink_to("/etc/new/file")
    fd = descriptor(root)
    for made in (
        paths.make_folders(fd, "/run/lock"),
        paths.make_folders(fd, "relative/x"),
        paths.make_file(fd, "/file"),
        paths.make_folders(fd, "../a//b/."),
    ):
        os.close(made)
    assert (root / "var/run/deep/lock").is_dir() and (root / "made/here/x").is_dir() and (root / "etc/new/file").is_file() and (root / "a/b").is_dir()
    assert sorted(os.listdir(tmp_path)) == ["root", "secret"]
    os.close(fd)


def test_links_that_turn_in_a_circle_end(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    fd = descriptor(root)
    for make in (paths.make_folders, paths.make_file):
        with pytest.raises(OSError) as error:
            make(fd, "/a/x")
        assert error.value.errno == errno.ELOOP
    os.close(fd)


def test_a_file_on_the_way_is_no_folder(root: Path) -> None:
    (root / "file").write_text("x")
    fd = descriptor(root)
    with pytest.raises(NotADirectoryError):
        paths.make_folders(fd, "/file/below")
    os.close(fd)


def test_reading_is_bounded_and_only_of_files(root: Path) -> None:
    (root / "big").write_bytes(b"x" * 101)
    os.mkfifo(root / "fifo")
    fd = descriptor(root)
    with pytest.raises(OSError) as big:
        paths.read_bounded(fd, "big", 100)
    with pytest.raises(OSError) as fifo:
        paths.read_bounded(fd, "fifo", 100)
    assert (big.value.errno, fifo.value.errno) == (errno.EFBIG, errno.EINVAL)
    assert paths.read_bounded(fd, "big", 101) == b"x" * 101
    os.close(fd)


def test_a_nul_byte_is_refused(root: Path) -> None:
    fd = descriptor(root)
    with pytest.raises(ValueError, match="NUL"):
        paths.look_up(fd, "a\0b")
    os.close(fd)
