"""Detach keys over the borders of reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.logs.keys import DetachKeys


@pytest.mark.parametrize(
    ("reads", "passed", "detached"),
    [
        ([b"abc"], b"abc", False),
        ([b"\x10\x11"], b"", True),
        ([b"a\x10", b"\x11b"], b"a", True),
        ([b"\x10", b"x"], b"\x10x", False),
        ([b"\x10\x10\x11"], b"\x10", True),
        ([b"\x10"], b"", False),
    ],
)
def test_ctrl_p_ctrl_q(reads: list[bytes], passed: bytes, detached: bool) -> None:
    keys, out, found = DetachKeys(b"\x10\x11"), b"", False
    for data in reads:
        part, found = keys.feed(data)
        out += part
    assert (out, found) == (passed, detached)


def test_without_a_sequence_everything_passes() -> None:
    assert DetachKeys(b"").feed(b"\x10\x11") == (b"\x10\x11", False)


@given(st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=20), st.sampled_from([b"a", b"ab", b"aab", b"aba", b"abab"]))
def test_it_detaches_exactly_where_the_sequence_is_first_complete(typed: list[bytes], sequence: bytes) -> None:
    keys, text, out, found = DetachKeys(sequence), b"".join(typed), b"", False
    for byte in typed:
        part, found = keys.feed(byte)
        out += part
        if found:
            break
    where = text.find(sequence)
    assert found == (where >= 0)
    if found:
        assert out == text[:where]
    else:
        assert text.startswith(out) and sequence.startswith(text[len(out) :])
