import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.linux import idmaps

TOP = idmaps.IDS


@pytest.mark.parametrize(
    ("ranges", "whole"),
    [
        ([], [(0, 0, TOP)]),
        ([(1000, 0, 1)], [(0, 1000, 1), (1, 1, 999), (1000, 0, 1), (1001, 1001, TOP - 1001)]),
        ([(0, 5, 2)], [(0, 5, 2), (2, 2, 3), (5, 0, 2), (7, 7, TOP - 7)]),
        ([(3, 3, 4)], [(0, 0, 3), (3, 3, 4), (7, 7, TOP - 7)]),
    ],
)
def test_whose_place_is_taken_gets_one_that_became_free(ranges: list[idmaps.Range], whole: list[idmaps.Range]) -> None:
    assert idmaps.complete(ranges) == whole


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 9)), max_size=5))
def test_a_complete_mapping_has_every_id_once(ranges: list[idmaps.Range]) -> None:
    try:
        whole = idmaps.complete(ranges)
    except ValueError:
        return
    assert set(ranges) <= set(whole)
    for side in (0, 1):
        at = 0
        for entry in sorted(whole, key=lambda entry: entry[side]):
            assert entry[side] == at
            at += entry[2]
        assert at == TOP


def test_words() -> None:
    assert idmaps.parse("1000:0") == ([(1000, 0, 1)], [(1000, 0, 1)])
    assert idmaps.parse("u:1000:0;g:100:5:3;7:8") == ([(1000, 0, 1), (7, 8, 1)], [(100, 5, 3), (7, 8, 1)])


@pytest.mark.parametrize("text", ["", "1", "a:b", "1:2:0", "1:2:3:4", "-1:2", "1:4294967295", "1:2;", "1:5;2:5", "1:5;1:6", "u:", "1:99999999999"])
def test_what_is_no_mapping(text: str) -> None:
    with pytest.raises(ValueError):
        idmaps.parse(text)
