"""The sealed store: what lies on the disk, keys that go, boxes that were changed, writers that die."""

import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.client.configfile import ConfigError
from pier.client.credentials import keys
from pier.client.credentials.auth import AuthConfig, CredentialError
from pier.client.credentials.sealed import Sealed
from pier.linux import keyring


@pytest.fixture(params=[keys.FILE, keys.KEYRING])
def place(request: pytest.FixtureRequest) -> str:
    if request.param == keys.KEYRING:
        needs_keyring()
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    document = content(tmp_path)
    if document.get("place") == keys.KEYRING:
        keyring.remove(f"pier-credentials:{document['key']}")


def needs_keyring() -> None:
    try:
        keyring.read("pier-credentials:none")
    except OSError as error:
        pytest.skip(f"no keyring here: {error}")


def content(folder: Path) -> dict[str, str]:
    path = folder / "pier-credentials.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_login_goes_and_comes_back(folder: Path, place: str) -> None:
    store = Sealed(str(folder), place)
    assert store.get("reg.example") is None
    assert store.put(AuthConfig("reg.example", "böb", "s3cret ÿ\n", "t0k")) == []
    store.put(AuthConfig("other.example", "amy", "x" * 2000))
    found, other = Sealed(str(folder)).get("reg.example"), Sealed(str(folder)).get("other.example")
    assert found is not None and (found.server, found.username, found.password, found.identity_token) == ("reg.example", "böb", "s3cret ÿ\n", "t0k")
    assert other is not None and (other.username, other.password) == ("amy", "x" * 2000)
    assert store.logged_in() == ["other.example", "reg.example"]
    assert store.drop("reg.example") and not store.drop("reg.example") and store.get("reg.example") is None


def test_nothing_readable_lies_on_the_disk(folder: Path, place: str) -> None:
    Sealed(str(folder), place).put(AuthConfig("reg.example", "robert", "s3cret-pass", "t0ken-text"))
    for path in folder.iterdir():
        data = path.read_bytes()
        assert not any(word in data for word in (b"robert", b"s3cret", b"t0ken", b"czNjcmV0"))
        assert path.stat().st_mode & 0o777 == 0o600
    key = [name for name in names(folder) if name.endswith(".key")]
    assert len(key) == (1 if place == keys.FILE else 0)


def test_the_size_of_a_box_tells_nothing(folder: Path) -> None:
    store = Sealed(str(folder))
    store.put(AuthConfig("a", "b", "c"))
    store.put(AuthConfig("b", "bob", "a much longer password than the other"))
    boxes = json.loads((folder / "pier-credentials.json").read_text())["boxes"]
    assert len(boxes["a"]) == len(boxes["b"])


def test_the_last_logout_leaves_nothing(folder: Path, place: str) -> None:
    store = Sealed(str(folder), place)
    store.put(AuthConfig("a", "b", "c"))
    key_id = content(folder)["key"]
    store.drop("a")
    assert names(folder) == []
    if place == keys.KEYRING:
        assert keyring.read(f"pier-credentials:{key_id}") is None


@pytest.mark.parametrize("how", ["moved", "changed", "cut", "no base64"])
def test_a_box_that_was_tampered_with_is_refused(folder: Path, how: str) -> None:
    store = Sealed(str(folder))
    store.put(AuthConfig("cheap.example", "bob", "weak"))
    store.put(AuthConfig("dear.example", "bob", "strong"))
    path = folder / "pier-credentials.json"
    document = json.loads(path.read_text())
    box = document["boxes"]["dear.example"]
    wrong = {"moved": box, "changed": ("A" if box[30] != "A" else "B").join((box[:30], box[31:])), "cut": box[:8], "no base64": "é"}[how]
    document["boxes"]["cheap.example"] = wrong
    path.write_text(json.dumps(document))
    with pytest.raises(CredentialError, match=r"the entry of cheap\.example was changed or is damaged: log in again"):
        store.get("cheap.example")
    found = store.get("dear.example")
    assert found is not None and found.password == "strong"


def test_a_key_that_is_gone(folder: Path, place: str) -> None:
    store = Sealed(str(folder), place)
    store.put(AuthConfig("a", "bob", "1"))
    store.put(AuthConfig("b", "bob", "2"))
    keys.forget(str(folder), place, content(folder)["key"])
    with pytest.raises(CredentialError, match="log in again"):
        store.get("a")
    assert store.put(AuthConfig("c", "bob", "3")) == ["a", "b"]
    found = store.get("c")
    assert found is not None and found.password == "3" and store.get("a") is None


def test_a_key_that_others_may_read_is_not_used(folder: Path) -> None:
    store = Sealed(str(folder))
    store.put(AuthConfig("a", "bob", "1"))
    (key,) = folder.glob("*.key")
    key.chmod(0o640)
    for act in (lambda: store.get("a"), lambda: store.put(AuthConfig("b", "bob", "2"))):
        with pytest.raises(CredentialError, match=r"others may read it \(mode 640\): chmod 600"):
            act()
    key.chmod(0o600)
    assert store.get("a") is not None and store.logged_in() == ["a"]


def test_the_key_moves_where_the_setting_says(folder: Path) -> None:
    needs_keyring()
    Sealed(str(folder), keys.FILE).put(AuthConfig("a", "bob", "1"))
    Sealed(str(folder), keys.KEYRING).put(AuthConfig("b", "bob", "2"))
    assert names(folder) == ["pier-credentials.json"] and content(folder)["place"] == keys.KEYRING
    found = Sealed(str(folder), keys.FILE).get("a")
    assert found is not None and found.password == "1"
    Sealed(str(folder), keys.FILE).put(AuthConfig("c", "bob", "3"))
    assert len(names(folder)) == 2 and Sealed(str(folder)).logged_in() == ["a", "b", "c"]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"version": 2, "place": "file", "key": "ab", "boxes": {}}',
        '{"version": 1, "place": "x", "key": "ab", "boxes": {}}',
        '{"version": 1, "place": "file", "key": "../x", "boxes": {}}',
        '{"version": 1, "place": "file", "key": "ab", "boxes": {"a": 1}}',
    ],
)
def test_a_file_that_is_no_store_is_named_and_kept(folder: Path, text: str) -> None:
    (folder / "pier-credentials.json").write_text(text)
    for act in (lambda: Sealed(str(folder)).get("a"), lambda: Sealed(str(folder)).put(AuthConfig("a", "b", "c"))):
        with pytest.raises(CredentialError, match=r"pier-credentials\.json: this is no store of credentials"):
            act()
    assert (folder / "pier-credentials.json").read_text() == text
    (folder / "pier-credentials.json").unlink()


def _login(folder: str, number: int) -> None:
    Sealed(folder).put(AuthConfig(f"r{number}", "bob", str(number)))


def test_logins_at_once_lose_nothing(folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_login, args=(str(folder), number)) for number in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert [getattr(Sealed(str(folder)).get(f"r{number}"), "password", "") for number in range(6)] == list("012345")
    assert len(list(folder.glob("*.key"))) == 1


STEPS = ("open", "fsync", "rename", "unlink")


def _dying(folder: str, step: str, nth: int) -> None:
    """A login, killed at the nth system call of a kind."""
    real = getattr(os, step)
    passed = 0

    def once(*args: object, **how: object) -> object:
        nonlocal passed
        passed += 1
        if passed == nth:
            os.kill(os.getpid(), 9)
        return real(*args, **how)

    setattr(os, step, once)
    Sealed(folder).put(AuthConfig("new.example", "bob", "new"))
    os._exit(0)


@pytest.mark.parametrize("first", [True, False], ids=["first login", "another login"])
def test_killed_at_any_step_the_old_logins_are_there(folder: Path, first: bool) -> None:
    context = multiprocessing.get_context("fork")
    died = 0
    for step in STEPS:
        for nth in range(1, 12):
            shutil.rmtree(folder)
            folder.mkdir()
            if not first:
                Sealed(str(folder)).put(AuthConfig("old.example", "bob", "old"))
            writer = context.Process(target=_dying, args=(str(folder), step, nth))
            writer.start()
            writer.join(30)
            if writer.exitcode == 0:
                break
            died += 1
            old, new = Sealed(str(folder)).get("old.example"), Sealed(str(folder)).get("new.example")
            assert (old is not None and old.password == "old") or first
            assert new is None or new.password == "new"
            Sealed(str(folder)).put(AuthConfig("next.example", "bob", "next"))
            assert len(names(folder)) == 2, names(folder)
    assert died > 6


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="/file/x: Not a directory"):
        Sealed(str(tmp_path / "file/x")).put(AuthConfig("a", "b", "c"))
