import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pier.client import configfile


def put(name: str, value: object) -> Callable[[dict[str, Any]], bool]:
    def edit(config: dict[str, Any]) -> bool:
        config[name] = value
        return True

    return edit


def test_what_is_not_known_stays_and_the_layout_is_dockers(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auths": {"x": {}}, "of a later version": [1, {"a": 1.5}]}')
    configfile.change(str(tmp_path), put("currentContext", "a"))
    text = (tmp_path / "config.json").read_text()
    assert json.loads(text) == {"auths": {"x": {}}, "of a later version": [1, {"a": 1.5}], "currentContext": "a"}
    assert text.startswith('{\n\t"auths": {\n\t\t"x": {}\n\t},\n')


def test_a_new_file_is_private_and_an_old_ones_mode_stays_unless_secrets_come(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    configfile.change(str(folder), put("a", 1))
    assert (folder.stat().st_mode & 0o777, (folder / "config.json").stat().st_mode & 0o777) == (0o700, 0o600)
    (folder / "config.json").chmod(0o644)
    configfile.change(str(folder), put("a", 2))
    assert (folder / "config.json").stat().st_mode & 0o777 == 0o644
    configfile.change(str(folder), put("a", 3), private=True)
    assert (folder / "config.json").stat().st_mode & 0o777 == 0o600


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / "dotfiles/docker.json").write_text("{}")
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").symlink_to("../dotfiles/docker.json")
    configfile.change(str(tmp_path / "docker"), put("a", 1))
    assert (tmp_path / "docker/config.json").is_symlink() and json.loads((tmp_path / "dotfiles/docker.json").read_text()) == {"a": 1}
    assert sorted(path.name for path in (tmp_path / "dotfiles").iterdir()) == ["docker.json"]


@pytest.mark.parametrize("content", ["{", "[1]", "nope", '{"a": 1} x'])
def test_a_broken_file_is_named_and_not_overwritten(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(configfile.ConfigError, match=r"config\.json: "):
        configfile.change(str(tmp_path), put("a", 1))
    assert (tmp_path / "config.json").read_text() == content


def test_an_empty_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(" \n")
    assert configfile.read(str(tmp_path)) == {}


def test_nothing_is_written_where_nothing_changed(tmp_path: Path) -> None:
    assert not configfile.change(str(tmp_path), lambda config: False)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "config.json.pier-new").write_text("half of a fi")
    configfile.change(str(tmp_path), put("a", 1))
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def _add(folder: str, number: int) -> None:
    configfile.change(folder, put(f"n{number}", number))


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_add, args=(str(tmp_path), number)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert json.loads((tmp_path / "config.json").read_text()) == {f"n{number}": number for number in range(8)}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(configfile.ConfigError, match=r"/file/docker: Not a directory"):
        configfile.change(str(tmp_path / "file/docker"), put("a", 1))
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_stays_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("{}")
    os.chown(path, 12345, 54321)
    configfile.change(str(tmp_path), put("a", 1))
    assert (path.stat().st_uid, path.stat().st_gid, json.loads(path.read_text())) == (12345, 54321, {"a": 1})
