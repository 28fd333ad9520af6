"""The query of `docker search`, with the words of Docker 28 (tried on it), and the answers of the API v1."""

import pytest

from pier.errors import Invalid
from pier.registry.errors import Untrue
from pier.registry.search import Found, Wanted, read, wanted


@pytest.mark.parametrize(
    ("term", "domain", "sought"),
    [
        ("busybox", "", "busybox"),
        ("library/busybox", "", "busybox"),
        ("alice/app", "", "alice/app"),
        ("docker.io/alice/app", "", "alice/app"),
        ("reg.example.com/app", "reg.example.com", "app"),
        ("127.0.0.1:5000/app", "127.0.0.1:5000", "app"),
        ("localhost/library/app", "localhost", "library/app"),
        ("", "", ""),
    ],
)
def test_where_a_term_is_looked_for(term: str, domain: str, sought: str) -> None:
    assert wanted(term, 0, {}) == Wanted(domain, sought, 25)


@pytest.mark.parametrize(
    ("limit", "filters", "words"),
    [
        (101, {}, "limit 101 is outside the range of [1, 100]"),
        (-1, {}, "limit -1 is outside the range of [1, 100]"),
        (0, {"x": ["2"]}, "invalid filter 'x'"),
        (0, {"stars": ["x"]}, "invalid filter 'stars=x': strconv.Atoi: parsing \"x\": invalid syntax"),
        (0, {"is-official": ["x"]}, "invalid filter 'is-official=[x]'"),
        (0, {"is-automated": ["x"]}, "invalid filter 'is-automated=[x]'"),
    ],
)
def test_bad_queries(limit: int, filters: dict[str, list[str]], words: str) -> None:
    with pytest.raises(Invalid) as raised:
        wanted("app", limit, filters)
    assert str(raised.value) == words


def test_filters() -> None:
    rows = [Found("a", "", 5, True), Found("b", "", 2, False), Found("c", "", 9, False)]

    def names(**filters: list[str]) -> str:
        query = wanted("x", 0, {name.replace("_", "-"): values for name, values in filters.items()})
        return "".join(row.name for row in rows if query.takes(row))

    assert names() == "abc"
    assert names(stars=["5"]) == "ac" and names(stars=["1", "9"]) == "c"
    assert names(is_official=["true"]) == "a" and names(is_official=["0"]) == "bc"
    assert names(is_automated=["true"]) == "" and names(is_automated=["false"]) == "abc"


def test_answers() -> None:
    data = b'{"results":[{"name":"foo","description":"d\\u001b","star_count":3,"is_official":true,"is_automated":true},{"name":"a/foo"},{"x":1},7]}'
    assert read(data, "https://h/") == [Found("foo", "d\\x1b", 3, True), Found("a/foo")]
    assert read(b'{"results":null}', "https://h/") == []


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"<html>", b'{"results":7}', b"[" * 100_000])
def test_what_is_no_answer(data: bytes) -> None:
    with pytest.raises(Untrue, match="not the JSON of a search"):
        read(data, "https://h/")
