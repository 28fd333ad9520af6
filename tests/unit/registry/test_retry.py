"""How long to wait before the next try."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.registry.retry import Policy, retry_after_s

NOW = 1_767_323_045.0  # 2026-01-02 03:04:05 UTC


def test_waits_double_half_of_each_by_chance() -> None:
    policy = Policy(tries=5, first_s=1)
    assert [policy.wait_s(n, None, 0.0) for n in range(1, 6)] == [0.5, 1.0, 2.0, 4.0, None]
    assert [policy.wait_s(n, None, 0.999999) for n in range(1, 5)] == pytest.approx([1.0, 2.0, 4.0, 8.0], rel=0.01)


def test_what_the_server_asks_for_is_kept() -> None:
    assert Policy().wait_s(1, 7.0, 0.5) == 7.0
    assert (Policy().wait_s(4, 1.0, 0.0) or 0) > 1.0


def test_who_asks_for_too_much_is_given_up() -> None:
    assert Policy().wait_s(1, 3600.0, 0.5) is None


@given(st.integers(1, 10**9), st.one_of(st.none(), st.floats(0, 1e12)), st.floats(0, 1, exclude_max=True))
def test_no_wait_is_longer_than_the_longest(failures: int, after: float | None, chance: float) -> None:
    wait = Policy(tries=10**10).wait_s(failures, after, chance)
    assert wait is None or 0 < wait <= Policy().longest_s


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", None),
        ("12", 12.0),
        (" 0 ", 0.0),
        ("Fri, 02 Jan 2026 03:04:35 GMT", 30.0),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0.0),
        ("-3", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("9" * 5000, 999999999.0),
        ("Fri, 99 Jan 2026 03:04:35 GMT", None),
    ],
)
def test_retry_after(value: str, expected: float | None) -> None:
    assert retry_after_s(value, NOW) == expected


@given(st.text(max_size=60))
def test_any_text_is_read(text: str) -> None:
    found = retry_after_s(text, NOW)
    assert found is None or found >= 0
