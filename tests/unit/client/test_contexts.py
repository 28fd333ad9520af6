from pathlib import Path

import pytest

from pier.client import contexts


def test_the_folder_is_dockers(tmp_path: Path) -> None:
    contexts.store(str(tmp_path), "mine", {"Name": "mine", "Metadata": {}, "Endpoints": {"docker": {"Host": "unix:///x", "SkipTLSVerify": False}}})
    found = [path.parent.name for path in (tmp_path / "contexts/meta").glob("*/meta.json")]
    assert found == [contexts.identifier("mine")]
    assert contexts.host_of(contexts.load(str(tmp_path), "mine")) == "unix:///x"
    assert contexts.names(str(tmp_path)) == ["mine"]
    contexts.remove(str(tmp_path), "mine")
    assert contexts.names(str(tmp_path)) == []


def test_identifier_is_sha256() -> None:
    assert contexts.identifier("nope") == "ca3704aa0b06f5954c79ee837faa152d84d6b2d42838f0637a15eda8337dbdce"


def test_missing_and_broken(tmp_path: Path) -> None:
    with pytest.raises(contexts.ContextError, match=r'context "nope": context not found: open /.*meta.json: no such file or directory'):
        contexts.load(str(tmp_path), "nope")
    path = Path(contexts.meta_file(str(tmp_path), "bad"))
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(contexts.ContextError, match='context "bad"'):
        contexts.load(str(tmp_path), "bad")


@pytest.mark.parametrize("name", ["", "default", "a", "-ab", "a b", "a/b", "é1"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(contexts.ContextError):
        contexts.check_name(name)
