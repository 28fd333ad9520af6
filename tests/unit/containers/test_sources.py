"""Folders of the host that are made for a bind, and taken away again."""

from pathlib import Path

import pytest

from pier.containers import sources


def test_what_was_made_goes_again_as_far_as_it_is_empty(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    made = sources.make_folder(str(tmp_path / "there/a/b/c"))
    assert made == [str(tmp_path / f"there/{below}") for below in ("a", "a/b", "a/b/c")]
    assert sources.make_folder(str(tmp_path / "there/a/b/c")) == []
    (tmp_path / "there/a/somebody else's").touch()
    sources.remove_folders(made)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["there", "there/a", "there/a/somebody else's"]


def test_one_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(OSError):
        sources.make_folder(str(tmp_path / "dangling/a/b"))
    with pytest.raises(OSError):
        sources.make_folder(str(tmp_path / "a" / ("x" * 300)))
    assert [path.name for path in tmp_path.iterdir()] == ["dangling"]
