from types import SimpleNamespace
from typing import Any

import pytest

from pier.api.models.containers import MountPoint
from pier.containers import filters
from pier.errors import Invalid


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"exited": ["--5"]}, "invalid filter 'exited=--5': must be a number"),
        ({"exited": ["²"]}, "invalid filter 'exited=²': must be a number"),
        ({"expose": ["1-99999999999"]}, "invalid filter 'expose=1-99999999999': invalid port"),
        ({"publish": ["65536"]}, "invalid filter 'publish=65536': invalid port"),
        ({"expose": ["²"]}, "invalid filter 'expose=²': invalid port"),
        ({"zz": ["1"]}, "invalid filter 'zz'"),
    ],
)
def test_a_value_that_is_none_is_refused(wanted: dict[str, list[str]], text: str) -> None:
    nothing: Any = SimpleNamespace()
    with pytest.raises(Invalid) as told:
        filters.for_list(nothing, wanted)
    assert str(told.value) == text


def test_codes_are_numbers_and_only_ended_containers_have_them() -> None:
    nothing: Any = SimpleNamespace()
    fits = filters.for_list(nothing, {"exited": ["137", "-1"]})

    def container(status: str, code: int) -> Any:
        return SimpleNamespace(state=SimpleNamespace(status=status, exit_code=code), record=SimpleNamespace(config=SimpleNamespace(labels={})))

    assert fits(container("exited", 137)) and fits(container("exited", -1))
    assert not fits(container("running", 137)) and not fits(container("exited", 0))


def test_a_volume_goes_by_its_name_or_its_place_and_a_folder_by_its_path() -> None:
    nothing: Any = SimpleNamespace()
    mounts = [
        MountPoint(type="volume", name="data", source="/var/lib/pier/volumes/data/_data", destination="/data", mode="", rw=True, propagation=""),
        MountPoint(type="bind", source="/srv", destination="/files", mode="", rw=True, propagation=""),
    ]
    container: Any = SimpleNamespace(record=SimpleNamespace(mounts=mounts, config=SimpleNamespace(labels={})))
    found = {
        text for text in ("data", "/data", "/srv", "/files", "dat", mounts[0].source) if filters.for_list(nothing, {"volume": [text]})(container)
    }
    assert found == {"data", "/data", "/srv", "/files"}


@pytest.mark.parametrize("text", ["9" * 5000, "9" * 400 + "h", "²", "1e400"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="failed to parse value as time or duration"):
        filters.for_prune({"until": [text]}, 0)
