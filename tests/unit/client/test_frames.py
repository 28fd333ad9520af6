from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.client.frames import Demultiplexer

FRAMES = st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.binary(max_size=20)), max_size=6)


@given(FRAMES, st.lists(st.integers(0, 200), max_size=6))
def test_every_byte_comes_out_on_its_stream(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(bytes([stream, 0, 0, 0]) + len(body).to_bytes(4, "big") + body for stream, body in frames)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    demultiplexer = Demultiplexer()
    seen: dict[int, bytes] = {1: b"", 2: b"", 3: b""}
    for start, end in pairwise(edges):
        for stream, piece in demultiplexer.feed(data[start:end]):
            seen[stream] += piece
    assert demultiplexer.whole
    assert seen == {number: b"".join(body for stream, body in frames if stream == number) for number in seen}


def test_a_cut_and_a_stream_that_has_no_frames() -> None:
    demultiplexer = Demultiplexer()
    assert demultiplexer.feed(b"\x01\0\0\0\0\0\0\x05ab") == [(1, b"ab")]
    assert not demultiplexer.whole
    with pytest.raises(ValueError, match="unrecognized input header: 104"):
        Demultiplexer().feed(b"hello world")
