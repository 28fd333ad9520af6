"""What plain.py takes, h11 would have read in the same way; what is unusual it leaves alone."""

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pier.http import plain

GOOD = b"POST /v1.51/containers/x/start?t=%20a HTTP/1.1\r\nHost: docker\r\nUser-Agent:  a b \t\r\nContent-Length: 3\r\n\r\n{}\nGET"
MOST = 64 << 10


def by_h11(data: bytes) -> tuple[str, str, dict[str, str], bytes, bytes] | None:
    """(method, target, headers, body, what is behind) as h11 reads it; None where it refuses, or waits for more."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    try:
        head = connection.next_event()
        if not isinstance(head, h11.Request):
            return None
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
        if not isinstance(event, h11.EndOfMessage):
            return None
    except h11.RemoteProtocolError:
        return None
    headers = {name.decode(): value.decode() for name, value in head.headers}
    return head.method.decode(), head.target.decode(), headers, body, bytes(connection.trailing_data[0])


def test_a_plain_request_is_read_whole() -> None:
    found = plain.read(GOOD, MOST)
    assert found == by_h11(GOOD)
    assert found is not None
    assert (found.target, found.headers["user-agent"], found.body, found.rest) == ("/v1.51/containers/x/start?t=%20a", "a b", b"{}\n", b"GET")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD[:-6],  # the body is not there yet
        GOOD.partition(b"\r\n\r\n")[0] + b"\r\n",
        GOOD.replace(b"\r\n", b"\n"),
        b"\r\n" + GOOD,
        GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"),
        GOOD.replace(b"HTTP/1.1", b"HTTP/1.1 "),
        GOOD.replace(b"POST /", b"POST  /"),
        GOOD.replace(b"POST /", b"post /"),
        GOOD.replace(b"POST /v1", b"POST http://docker/v1"),
        GOOD.replace(b"POST /", b"POST *"),
        GOOD.replace(b"?t=", b"?\x7f="),
        GOOD.replace(b"?t=", b"?\xc3\xa9="),
        GOOD.replace(b"Host: docker\r\n", b""),
        GOOD.replace(b"Host: docker\r\n", b"Host: a\r\nhost: a\r\n"),
        GOOD.replace(b"Host: docker", b"Host : docker"),
        GOOD.replace(b"Host: docker", b"Host: doc\x00ker"),
        GOOD.replace(b"Host: docker", b"Host: doc\rker"),
        GOOD.replace(b"Host: docker", b"Host: docker\r\n folded"),
        GOOD.replace(b"Host: docker", b"Host: d\xc3\xb6cker"),
        GOOD.replace(b"Host: docker", b": docker"),
        GOOD.replace(b"Content-Length: 3", b"Content-Length: +3"),
        GOOD.replace(b"Content-Length: 3", b"Content-Length: 3, 3"),
        GOOD.replace(b"Content-Length: 3", b"Content-Length: 0x3"),
        GOOD.replace(b"Content-Length: 3", b"Content-Length:"),
        GOOD.replace(b"Content-Length: 3", b"Content-Length: 3\r\nContent-Length: 3"),
        GOOD.replace(b"Content-Length: 3", b"Content-Length: 3\r\nTransfer-Encoding: chunked"),
        GOOD.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        GOOD.replace(b"Content-Length: 3", b"Content-Length: 3\r\nExpect: 100-continue"),
        GOOD.replace(b"Host: docker", b"Host: docker\r\nX: " + b"a" * MOST),
    ],
)
def test_what_leaves_a_question_is_left_to_h11(data: bytes) -> None:
    assert plain.read(data, MOST) is None


PIECES = st.sampled_from(
    [b"GET", b"POST", b"HEAD", b"get", b" ", b"\t", b"/", b"/a?b=c", b"http://x/", b"*", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n", b"\r", b":", b",",
     b"Host", b"host", b"docker", b"Content-Length", b"Transfer-Encoding", b"chunked", b"Expect", b"0", b"3", b"10", b"+1", b"a", b"\x00", b"\x80",
     b"Connection", b"close", b"Upgrade", b"tcp", b"{}", b"Host: docker\r\n", b"GET /a HTTP/1.1\r\n", b"Content-Length: 2\r\n", b"\r\n\r\n"]
)  # fmt: skip


CHANGES = st.tuples(st.integers(0, len(GOOD)), PIECES | st.binary(max_size=3), st.integers(0, 3))


@given(st.lists(PIECES, max_size=20).map(b"".join) | CHANGES)
@settings(max_examples=3000)
def test_both_parsers_agree_on_what_is_plain(change: "bytes | tuple[int, bytes, int]") -> None:
    data = change if isinstance(change, bytes) else GOOD[: change[0]] + change[1] + GOOD[change[0] + change[2] :]
    found = plain.read(data, MOST)
    assert found is None or tuple(found) == by_h11(data)
