"""What a token is asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.registry.scopes import covers, merge, repository


@pytest.mark.parametrize(
    ("texts", "merged"),
    [
        ((), ()),
        (("",), ()),
        (("repository:a/b:pull", "repository:a/b:push,pull"), ("repository:a/b:pull,push",)),
        (("repository:a:pull repository:b:pull",), ("repository:a:pull", "repository:b:pull")),
        (("repository:h:5000/a:pull",), ("repository:h:5000/a:pull",)),
        (("registry:catalog:*",), ("registry:catalog:*",)),
        (("nonsense", ":", "a:"), ("a:",)),
    ],
)
def test_merge(texts: tuple[str, ...], merged: tuple[str, ...]) -> None:
    assert merge(*texts) == merged


@pytest.mark.parametrize(
    ("have", "want", "enough"),
    [
        ("repository:a:pull,push", "repository:a:pull", True),
        ("repository:a:pull", "repository:a:pull,push", False),
        ("repository:a:pull", "repository:b:pull", False),
        ("repository:a:pull repository:b:pull", "repository:b:pull", True),
        ("repository:a:pull", "", True),
    ],
)
def test_covers(have: str, want: str, enough: bool) -> None:
    assert covers(merge(have), merge(want)) is enough


def test_a_repositorys() -> None:
    assert repository("library/app", "pull", "push") == "repository:library/app:pull,push"


@given(st.lists(st.text("abc:, *", max_size=30), max_size=5))
def test_a_merged_scope_covers_its_parts(texts: list[str]) -> None:
    whole = merge(*texts)
    assert all(covers(whole, merge(text)) for text in texts)
    assert merge(*whole) == whole
