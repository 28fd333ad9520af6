"""Filters, patterns, times, progress lines, names."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.errors import Invalid
from pier.images import filters, progress
from pier.images.image import timestamp_ns, timestamp_text
from pier.images.names import from_request, means_id
from pier.oci.reference import parse

NOW = 1_795_247_361_000_000_000


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("busy*", "busybox:latest", True),
        ("busybox", "busybox:latest", True),
        ("busybox:latest", "busybox:latest", True),
        ("busybox:l*t", "busybox:latest", True),
        ("*", "user/app:1", False),
        ("*/*", "user/app:1", True),
        ("*/*:1", "user/app:1", True),
        ("127.0.0.1:5000/*", "127.0.0.1:5000/app:1", True),
        ("b?sybox", "busybox:latest", True),
        ("[a-c]usybox", "busybox:latest", True),
        ("[^a-c]usybox", "busybox:latest", False),
        ("busybo[^y]", "busybox:latest", True),
        ("busybo\\x", "busybox:latest", True),
        ("busybox:1", "busybox:latest", False),
        ("", "busybox:latest", False),
    ],
)
def test_reference_patterns(pattern: str, name: str, fits: bool) -> None:
    assert filters.matches_reference(pattern, parse(name)) is fits


@pytest.mark.parametrize("pattern", ["[", "[a", "[]", "[a-]", "a\\", "[\\", "[-a]"])
def test_malformed_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(Invalid, match=r"^syntax error in pattern$"):
        filters.matches_reference(pattern, parse("a"))


@given(st.text(alphabet="ab/*?", max_size=12), st.text(alphabet="ab/", max_size=10))
def test_patterns_agree_with_a_regular_expression(pattern: str, text: str) -> None:
    expression = "".join({"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char)) for char in re.sub(r"\*+", "*", pattern))
    assert filters.glob_matches(filters.glob(pattern), text) == (re.fullmatch(expression, text) is not None)


@given(st.text(max_size=30))
def test_any_pattern_is_read_or_refused(pattern: str) -> None:
    try:
        tokens = filters.glob(pattern)
    except Invalid:
        return
    filters.glob_matches(tokens, "library/busybox:latest")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1795247361", NOW),
        ("1795247361.5", NOW + 500_000_000),
        ("10m", NOW - 600 * 10**9),
        ("1h30m", NOW - 5400 * 10**9),
        ("1.5s", NOW - 1_500_000_000),
        ("-10s", NOW + 10 * 10**9),
        ("2026-01-02T03:04:05Z", 1767323045 * 10**9),
        ("2026-01-02T03:04:05.5+01:00", 1767319445 * 10**9 + 500_000_000),
        ("2026-01-02", 1767312000 * 10**9),
        ("2026-01-02T03", 1767322800 * 10**9),
    ],
)
def test_moments(text: str, expected: int) -> None:
    assert filters.moment_ns(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "soon", "10 m", "10x", "2026-13-01", "h", "--5s"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(Invalid, match="failed to parse value as time or duration"):
        filters.moment_ns(text, NOW)


def test_booleans_and_labels() -> None:
    assert filters.boolean({}, "dangling", True) and not filters.boolean({"dangling": ["0"]}, "dangling", True)
    for values in (["maybe"], ["true", "false"]):
        with pytest.raises(Invalid, match="invalid filter 'dangling="):
            filters.boolean({"dangling": values}, "dangling", True)
    labels = {"a": "1", "b": ""}
    assert filters.has_labels(["a", "a=1", "b="], labels) and not filters.has_labels(["a=2"], labels) and not filters.has_labels(["c"], labels)
    assert filters.lacks_labels([], labels) and filters.lacks_labels(["c"], labels) and not filters.lacks_labels(["a"], labels)


def test_times_are_written_as_they_were_read() -> None:
    assert timestamp_ns("2026-11-21T07:49:21.87547022Z") == 1795247361_875470220
    assert timestamp_text(1795247361_875470220) == "2026-11-21T07:49:21.87547022Z"
    assert timestamp_text(0) == "0001-01-01T00:00:00Z" and timestamp_text(10**9) == "1970-01-01T00:00:01Z"
    assert [timestamp_ns(text) for text in (None, "", "yesterday", "2026-02-30T00:00:00Z", "0001-01-01T00:00:00Z")][:4] == [0, 0, 0, 0]


@given(st.integers(min_value=1, max_value=4 * 10**18))
def test_every_moment_survives_its_text(moment: int) -> None:
    assert timestamp_ns(timestamp_text(moment)) == moment


def test_progress_lines_are_those_of_the_reference() -> None:
    assert progress.bar(38912, 1984377) == f"[>{' ' * 50}]  38.91kB/1.984MB"
    assert progress.bar(2129920, 1984377) == f"[{'=' * 50}>]   2.13MB"
    assert progress.bar(3001579, 3001579) == f"[{'=' * 50}>]  3.002MB/3.002MB"
    assert progress.bar(0, 0) == "" and progress.bar(1500, 0) == "   1.5kB"
    assert progress.step("Pushing", "x", 0, 0) == {"status": "Pushing", "progressDetail": {}, "id": "x"}


def test_names_from_a_request() -> None:
    assert str(from_request("app", "")) == "app:latest" and str(from_request("app:1", "2")) == "app:2" and from_request("", "x") is None
    identity = "sha256:" + "ab" * 32
    assert means_id(identity, "abab") and means_id(identity, "sha256:abab") and not means_id(identity, "baba")


def test_a_pattern_of_many_stars_costs_nothing() -> None:
    # With a backtracking matcher this would not end.
    assert not filters.matches_reference("*a" * 40 + "b", parse("a" * 200))
