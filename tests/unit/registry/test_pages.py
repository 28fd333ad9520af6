"""The header Link."""

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.registry.errors import Untrue
from pier.registry.pages import MAX_LIST_BYTES, names, next_page

HERE = "https://reg.example.com/v2/app/tags/list?n=2"


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ('</v2/app/tags/list?last=b&n=2>; rel="next"', "https://reg.example.com/v2/app/tags/list?last=b&n=2"),
        ("</v2/x>; rel=next", "https://reg.example.com/v2/x"),
        ('</v2/x>;rel="prev next"', "https://reg.example.com/v2/x"),
        ('</v2/p>; rel="prev", </v2/n>; title="a, b"; rel="next"', "https://reg.example.com/v2/n"),
        ('<?last=b>; REL="NEXT"', "https://reg.example.com/v2/app/tags/list?last=b"),
        ('<https://reg.example.com:443/x>; rel="next"', "https://reg.example.com:443/x"),
        ('</v2/x>; rel="prev"', None),
        ('</v2/x>; rel="nextish"', None),
        ('</v2/x>; title="rel=next"', None),
        ('</v2/x>; title="; rel=next"', None),
        ("</v2/x>; rel=prev; rel=next", None),
        ("</v2/x>", None),
        ("", None),
        ("<<<>>>", None),
    ],
)
def test_the_next_page(link: str, expected: str | None) -> None:
    assert next_page(HERE, [link]) == expected


@pytest.mark.parametrize(
    "target",
    ["https://other.example.com/x", "http://reg.example.com/x", "https://reg.example.com:8443/x", "//other/x", "file:///x", "", "https://a b/"],
)
def test_pages_that_are_elsewhere(target: str) -> None:
    with pytest.raises(Untrue):
        next_page(HERE, [f'<{target}>; rel="next"'])


@given(st.lists(st.text(max_size=100), max_size=3))
def test_any_text_is_read_or_refused(links: list[str]) -> None:
    try:
        found = next_page(HERE, links)
    except Untrue:
        return
    assert found is None or found.startswith("https://reg.example.com/")


def test_a_long_header_takes_no_long_time() -> None:
    assert next_page(HERE, ['<a>;"' * 1_000_000]) is None
    assert next_page(HERE, ["<x>" + ";rel" * 1_000_000]) is None
    assert next_page(HERE, ["<x>" + " " * 1_000_000 + ";" * 1_000_000]) is None


def test_a_list_without_an_end_is_given_up() -> None:
    """Each page is within its limit, and has a next one: all of them together would fill the memory."""

    class Endless:
        asked = 0

        def ask(self, endpoint: object, ask: object) -> Any:
            self.asked += 1
            data = json.dumps({"tags": [f"{self.asked}-{n}-" + "x" * 900 for n in range(4000)]}).encode()
            return Page(data, self.asked)

    class Page:
        def __init__(self, data: bytes, number: int) -> None:
            self.url, self._data, self._number = HERE, data, number

        def __enter__(self) -> "Page":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def read_bounded(self, limit: int) -> bytes:
            return self._data[: limit + 1]

        def all(self, name: str) -> list[str]:
            return [f'<{HERE}?after={self._number}>; rel="next"']

    endless: Any = Endless()
    with pytest.raises(Untrue, match="bytes on all pages"):
        names(endless, cast(Any, None), "/x/tags/list", "tags", (), None)
    assert endless.asked * 3_500_000 < MAX_LIST_BYTES * 1.5
