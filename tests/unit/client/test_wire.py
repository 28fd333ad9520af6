from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.client.wire import ProtocolError, ResponseReader, query, quote, request_head

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Y: z\r\n\r\n5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nTrailer: x\r\n\r\nNEXT"
UPGRADE = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nraw bytes"


def feed(data: bytes, cuts: list[int], method: str = "GET") -> ResponseReader:
    reader = ResponseReader(method)
    edges = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        reader.feed(data[start:end])
    return reader


@given(st.lists(st.integers(0, 500), max_size=8))
def test_chunked_wherever_the_packets_break(cuts: list[int]) -> None:
    reader = feed(CHUNKED, cuts)
    assert (reader.status, reader.headers["x-y"], reader.done) == (200, "z", True)
    assert reader.take() == b"hello world"
    assert reader.trailing == b"NEXT"


@given(st.lists(st.integers(0, 500), max_size=5))
def test_bytes_behind_an_upgrade_belong_to_the_stream(cuts: list[int]) -> None:
    reader = feed(UPGRADE, cuts)
    assert reader.upgraded and reader.trailing == b"raw bytes"


def test_length_head_and_no_content() -> None:
    reader = feed(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", [])
    assert (reader.take(), reader.done, reader.trailing) == (b"abc", True, b"d")
    assert feed(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", [], "HEAD").done
    assert feed(b"HTTP/1.1 204 No Content\r\n\r\n", []).done


def test_interim_responses_are_passed_over() -> None:
    reader = feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n", [])
    assert (reader.status, reader.done) == (304, True)


def test_a_body_without_length_ends_with_the_connection() -> None:
    reader = feed(b"HTTP/1.0 200 OK\r\n\r\nabc", [])
    assert not reader.done
    reader.eof()
    assert reader.done and reader.take() == b"abc"


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello",
    ],
)
def test_what_is_no_response_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        ResponseReader().feed(data)


def test_a_body_that_is_cut_off_is_an_error() -> None:
    reader = feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", [])
    with pytest.raises(ProtocolError, match="unexpected EOF"):
        reader.eof()


def test_no_line_break_gets_into_a_request() -> None:
    with pytest.raises(ValueError, match="line break"):
        request_head("GET", "/x", "h", [("A", "b\r\nEvil: 1")])
    assert query([("a", "b c"), ("d", "é&")]) == "?a=b%20c&d=%C3%A9%26"
    assert quote("a/b:c", "/:") == "a/b:c"
