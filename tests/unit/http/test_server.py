"""The server over a real socket: keep-alive, pipelining, bodies, streams, hijacking, limits, refusals."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pier.http import wire
from pier.http.connection import Limits
from pier.http.message import Answer, Request, Stream, Taken, json, text
from tests.unit.http.talk import Client, served

GET = b"GET %s HTTP/1.1\r\nHost: docker\r\n\r\n"


async def echo(request: Request) -> Answer:
    body = (await request.body()).decode()
    return json({"method": request.method, "path": request.path, "q": request.query.get("q"), "body": body})


def run(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]


def test_requests_follow_each_other_on_one_connection(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path, echo) as connect:
            client = await connect()
            for n in range(3):
                await client.send(GET % f"/x%20y?q={n}".encode())
                status, headers, body = await client.answer()
                assert (status, headers["content-type"]) == (200, "application/json")
                assert body == b'{"method":"GET","path":"/x y","q":"%d","body":""}\n' % n

    run(main())


def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path, echo) as connect:
            client = await connect()
            await client.send(b"".join(GET % f"/?q={n}".encode() for n in range(5)))
            assert [(await client.answer())[2].split(b'"q":"')[1][:1] for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]

    run(main())


@pytest.mark.parametrize("target", [b"http://docker/x", b"http://evil.example/x", b"*", b"docker:80"])
def test_a_target_that_is_no_path_is_refused(tmp_path: Path, target: bytes) -> None:
    async def main() -> None:
        async with served(tmp_path, echo) as connect:
            client = await connect()
            await client.send(GET % target)
            status, headers, body = await client.answer()
            assert (status, headers["connection"]) == (400, "close")
            assert b"is no path" in body

    run(main())


def test_a_host_that_nobody_sends_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path, echo) as connect:
            client = await connect()
            await client.send(b"GET /x HTTP/1.1\r\nHost: evil.example:80:80\r\n\r\n")
            status, _, body = await client.answer()
            assert (status, body) == (400, b"400 Bad Request: malformed Host header\n")

    run(main())


def test_bodies_with_a_length_in_chunks_and_after_100_continue(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path, echo) as connect:
            client = await connect()
            await client.send(b"POST /a HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\n\r\nhe")
            await client.send(b"llo")
            assert b'"body":"hello"' in (await client.answer())[2]
            await client.send(b"POST /a HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            assert b'"body":"abcde"' in (await client.answer())[2]
            await client.send(b"POST /a HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            assert (await client.head())[0] == 100
            await client.send(b"ok")
            assert b'"body":"ok"' in (await client.answer())[2]

    run(main())


def test_100_continue_comes_before_an_answer_that_is_made_while_the_body_is_read(tmp_path: Path) -> None:
    """curl waits so with an archive of more than a megabyte (`/images/load`)."""

    async def load(request: Request) -> Answer:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"reading:"
            async for chunk in request.chunks():
                yield chunk

        return Stream(chunks(), "text/plain")

    async def main() -> None:
        async with served(tmp_path, load) as connect:
            client = await connect()
            await client.send(b"POST /a HTTP/1.1\r\nHost: d\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            assert (await client.head())[0] == 100
            await client.send(b"body")
            status, _, body = await client.answer()
            assert (status, body) == (200, b"reading:body")
            await client.send(GET % b"/after")
            assert (await client.answer())[2] == b"reading:"

    run(main())


def test_the_head_waits_for_the_first_piece_while_a_body_is_read(tmp_path: Path) -> None:
    """aiohttp sends no more of a body once it has an answer's head."""

    async def load(request: Request) -> Answer:
        async def chunks() -> AsyncIterator[bytes]:
            async for chunk in request.chunks():
                if chunk == b"last" or request.path == "/none":
                    continue
                yield chunk

        return Stream(chunks(), "text/plain")

    async def main() -> None:
        async with served(tmp_path, load) as connect:
            client = await connect()
            await client.send(b"POST /none HTTP/1.1\r\nHost: d\r\nContent-Length: 8\r\n\r\nhalf")
            head = asyncio.ensure_future(client.head())
            assert not (await asyncio.wait([head], timeout=0.1))[0]
            await client.send(b"last")
            assert (await head)[0] == 200

    run(main())


def test_a_body_that_breaks_before_the_head_is_out_is_answered(tmp_path: Path) -> None:
    async def load(request: Request) -> Answer:
        async def chunks() -> AsyncIterator[bytes]:
            async for _ in request.chunks():
                pass
            if request.path == "/fail":
                raise RuntimeError("before anything was said")
            yield b"whole"

        return Stream(chunks(), "text/plain")

    async def main() -> None:
        async with served(tmp_path, load) as connect:
            for path, body, status in ((b"/broken", b"zz\r\n", 400), (b"/fail", b"1\r\na\r\n0\r\n\r\n", 500)):
                client = await connect()
                await client.send(b"POST %s HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n" % path)
                await asyncio.sleep(0.05)
                await client.send(body)
                assert (await client.answer())[0] == status

    run(main())


def test_an_unread_body_does_not_become_the_next_request(tmp_path: Path) -> None:
    async def ignore(request: Request) -> Answer:
        return text(request.path)

    async def main() -> None:
        async with served(tmp_path, ignore) as connect:
            client = await connect()
            hidden = GET % b"/hidden"
            await client.send(b"POST /a HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n%s%s" % (len(hidden), hidden, GET % b"/b"))
            assert (await client.answer())[2] == b"/a"
            assert (await client.answer())[2] == b"/b"

    run(main())


def test_head_has_no_body_and_the_connection_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path, echo) as connect:
            client = await connect()
            await client.send(b"HEAD / HTTP/1.1\r\nHost: d\r\n\r\n")
            assert (await client.head())[0] == 200
            await client.send(GET % b"/next")
            assert b"/next" in (await client.answer())[2]

    run(main())




@pytest.mark.parametrize(
    ("extra", "version", "status", "kind"),
    [
        (b"Connection: Upgrade\r\nUpgrade: tcp\r\n", (1, 51), 101, "application/vnd.docker.multiplexed-stream"),
        (b"Connection: Upgrade\r\nUpgrade: tcp\r\n", (1, 41), 101, "application/vnd.docker.raw-stream"),
        (b"", (1, 51), 200, "application/vnd.docker.raw-stream"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"{}"])
def test_hijack_keeps_glued_bytes_and_both_halves(
    tmp_path: Path, extra: bytes, version: tuple[int, int], status: int, kind: str, body: bytes
) -> None:
    """The bytes behind the request reach the stream; the client closes its half and still gets the answer."""
    got: list[bytes] = []

    async def handler(request: Request) -> Answer:
        request.version = version
        hijacked = await request.hijack(multiplexed=True)
        loop = asyncio.get_running_loop()
        data = hijacked.initial
        while piece := await loop.sock_recv(hijacked.sock, 100):
            data += piece
        got.append(data)
        await hijacked.send(b"all of " + data)
        hijacked.sock.close()
        return Taken()

    async def main() -> None:
        async with served(tmp_path, handler) as connect:
            client = await connect()
            length = b"Content-Length: %d\r\n" % len(body) if body else b""
            await client.send(b"POST /attach HTTP/1.1\r\nHost: d\r\n" + length + extra + b"\r\n" + body + b"glued")
            answered, headers = await client.head()
            assert (answered, headers["content-type"]) == (status, kind)
            assert ("upgrade" in headers) == (status == 101)
            await client.send(b" and later")
            client.writer.write_eof()
            assert await client.rest() == b"all of glued and later"
            assert got == [b"glued and later"]

    run(main())


def test_a_refused_upgrade_is_an_ordinary_answer(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path, echo) as connect:
            client = await connect()
            await client.send(b"POST /a HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\nhi")
            assert (await client.answer())[0] == 200
            await client.send(GET % b"/b")
            assert (await client.answer())[0] == 200

    run(main())


def test_a_stream_sends_headers_first_and_is_closed_when_the_client_goes(tmp_path: Path) -> None:
    async def main() -> None:
        closed, more = asyncio.Event(), asyncio.Event()

        async def chunks() -> AsyncIterator[bytes]:
            try:
                await more.wait()
                yield b"one"
                await asyncio.Event().wait()
            finally:
                closed.set()

        async def handler(request: Request) -> Answer:
            return Stream(chunks(), "application/json")

        async with served(tmp_path, handler) as connect:
            client = await connect()
            await client.send(GET % b"/events")
            status, headers = await client.head()
            assert (status, headers["transfer-encoding"]) == (200, "chunked")
            more.set()
            assert await client.reader.readexactly(8) == b"3\r\none\r\n"
            client.writer.close()
            await closed.wait()

    run(main())


def test_a_stream_ends_and_the_pipelined_request_behind_it_is_answered(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for piece in (b"a", b"", b"b"):
            yield piece

    async def handler(request: Request) -> Answer:
        return Stream(chunks(), "text/plain") if request.path == "/s" else text("after")

    async def main() -> None:
        async with served(tmp_path, handler) as connect:
            client = await connect()
            await client.send(GET % b"/s" + GET % b"/t")
            assert (await client.answer())[2] == b"ab"
            assert (await client.answer())[2] == b"after"

    run(main())


def test_a_stream_that_fails_is_cut_not_ended(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"part"
        raise RuntimeError("half-way")

    async def handler(request: Request) -> Answer:
        return Stream(chunks(), "text/plain")

    async def main() -> None:
        async with served(tmp_path, handler) as connect:
            client = await connect()
            await client.send(GET % b"/s")
            await client.head()
            assert await client.rest() == b"4\r\npart\r\n"

    run(main())


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (b"POST / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length : 3\r\n\r\nabc", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"rubbish\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: evil.example.com\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example.com\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n\r\n", 403),
        (b"GET /?a=%zz HTTP/1.1\r\nHost: d\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: d\r\nX: " + b"x" * 70000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_refused_closes_the_connection(tmp_path: Path, data: bytes, status: int) -> None:
    async def main() -> None:
        async with served(tmp_path, echo) as connect:
            client = await connect()
            try:
                await client.send(data)
                answered, headers, _ = await client.answer()
                assert (answered, headers["connection"]) == (status, "close")
                assert await client.rest() == b""
            except ConnectionResetError:
                pytest.fail("the connection was reset before the answer could be read")

    run(main())


def test_slow_headers_are_given_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path, echo, Limits(head_s=0.05)) as connect:
            client = await connect()
            await client.send(b"GET / HTTP/1.1\r\nHo")
            assert (await client.answer())[0] == 408
            silent = await connect()
            assert await silent.rest() == b""

    run(main())


def test_a_body_above_the_limit_is_413(tmp_path: Path) -> None:
    async def small(request: Request) -> Answer:
        return text((await request.body(limit=10)).decode())

    async def main() -> None:
        async with served(tmp_path, small) as connect:
            client = await connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 11\r\n\r\n01234567890")
            assert (await client.answer())[0] == 413
            assert await client.rest() == b""

    run(main())


def test_a_client_that_goes_inside_its_body_is_noticed(tmp_path: Path) -> None:
    async def main() -> None:
        seen: asyncio.Queue[str] = asyncio.Queue()

        async def handler(request: Request) -> Answer:
            try:
                await request.body()
            except ConnectionError as error:
                seen.put_nowait(str(error))
                raise
            return text("")

        async with served(tmp_path, handler) as connect:
            for head in (b"Content-Length: 10\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"):
                client: Client = await connect()
                await client.send(b"POST / HTTP/1.1\r\nHost: d\r\n" + head)
                client.writer.close()
                assert await seen.get() == "the client hung up inside the request body"

    run(main())


def test_an_answer_may_stream_while_the_body_still_comes_and_a_lost_client_ends_it(tmp_path: Path) -> None:
    """What load does: lines go out before the archive is read to its end."""

    async def main() -> None:
        ended = asyncio.Event()

        async def handler(request: Request) -> Answer:
            async def lines() -> AsyncIterator[bytes]:
                try:
                    async for chunk in request.chunks():
                        yield b"got %d\n" % len(chunk)
                    yield b"all\n"
                    if request.path == "/long":
                        await asyncio.Event().wait()
                finally:
                    ended.set()

            return Stream(lines(), "application/json")

        async with served(tmp_path, handler) as connect:
            client = await connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            await client.head()
            assert await client.reader.readexactly(11) == b"6\r\ngot 3\n\r\n"
            await client.send(b"0\r\n\r\n" + GET % b"/next")
            assert await client.reader.readuntil(b"0\r\n\r\n") == b"4\r\nall\n\r\n0\r\n\r\n"
            assert (await client.answer())[2] == b"all\n"
            ended.clear()
            await client.send(b"POST /long HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\n\r\nhi")
            await client.reader.readuntil(b"all\n")
            client.writer.close()
            await ended.wait()
            ended.clear()
            broken = await connect()
            await broken.send(b"POST /long HTTP/1.1\r\nHost: d\r\nContent-Length: 9\r\n\r\nhi")
            await broken.reader.readuntil(b"got 2\n")
            broken.writer.close()
            await ended.wait()

    run(main())


def test_a_client_of_http_1_0_gets_no_chunks_and_the_end_by_closing(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async def handler(request: Request) -> Answer:
        return Stream(chunks(), "text/plain") if request.path == "/s" else text("all")

    async def main() -> None:
        async with served(tmp_path, handler) as connect:
            for path, body in ((b"/s", b"onetwo"), (b"/t", b"all")):
                client = await connect()
                await client.send(b"GET %s HTTP/1.0\r\n\r\n" % path)
                status, headers = await client.head()
                assert (status, headers["connection"], "transfer-encoding" in headers) == (200, "close", False)
                assert await client.rest() == body

    run(main())


def test_a_header_cannot_begin_another_one() -> None:
    with pytest.raises(ValueError, match="line break"):
        wire.head(301, [("Location", "/x\r\nSet-Cookie: a=b")])
    assert wire.head(204, [("A", "b")]).startswith(b"HTTP/1.1 204 No Content\r\nA: b\r\nDate: ")
