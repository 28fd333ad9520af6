"""API versions and the stream frame."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.api import fields, stream, versions


def test_the_words_to_clients_of_other_versions() -> None:
    assert versions.too_new("9.99") == "client version 9.99 is too new. Maximum supported API version is 1.51"
    assert versions.too_old("1.23") == (
        "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
    )
    assert not versions.too_new("1.51")
    assert not versions.too_old("1.24")
    assert versions.too_new("1.51.1")
    assert versions.too_old("1")


def test_the_tables_agree() -> None:
    assert versions.text(versions.NEWEST) == fields.API_NEWEST
    assert versions.text(versions.OLDEST) == fields.API_OLDEST
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert project["project"]["version"] == fields.VERSION


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=40)), max_size=6), st.integers(1, 9))
def test_frames_survive_any_cut(frames: list[tuple[int, bytes]], step: int) -> None:
    data = b"".join(stream.frame(*frame) for frame in frames)
    reader = stream.Reader()
    got = [frame for at in range(0, len(data), step) for frame in reader.feed(data[at : at + step])]
    assert got == frames
    assert reader.pending == 0


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="not a multiplexed stream"):
        stream.Reader().feed(b"plain text")
