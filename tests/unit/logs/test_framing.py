"""The local driver's frames, and what a crash or a flipped byte leaves of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.logs import framing

FRAMES = st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.integers(0, 2**62), st.binary(min_size=1, max_size=200)), max_size=8)


def file_of(frames: list[framing.Frame]) -> bytes:
    return b"".join(framing.encode(*frame) for frame in frames)


@given(FRAMES)
def test_what_is_encoded_is_decoded(frames: list[framing.Frame]) -> None:
    data = file_of(frames)
    assert [frame for _, frame in framing.decode(data)] == frames


@given(FRAMES)
def test_walking_backwards_meets_the_same_borders(frames: list[framing.Frame]) -> None:
    data = file_of(frames)
    borders = [end for end, _ in framing.decode(data)]
    at, met = len(data), []
    while at:
        met.append(at)
        at = framing.frame_before(data, at)
        assert at >= 0
    assert met[::-1] == borders


@given(FRAMES, st.binary(min_size=1, max_size=50), st.integers(1, 60))
def test_a_torn_end_is_found(frames: list[framing.Frame], payload: bytes, cut: int) -> None:
    data, torn = file_of(frames), framing.encode(1, 5, payload)
    torn = torn[: -min(cut, len(torn) - 1)]
    whole = data + torn
    assert framing.last_whole(lambda length, offset: whole[offset : offset + length], len(whole)) == len(data)


def test_a_length_beyond_the_limit_is_no_frame() -> None:
    with pytest.raises(ValueError, match="no frame"):
        framing.split(framing.MAX_PAYLOAD + 1)
    with pytest.raises(ValueError, match="no frame"):
        framing.split(0)
    assert list(framing.decode(b"\xff" * 100)) == [] == list(framing.decode(bytes(100)))
