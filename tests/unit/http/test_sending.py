"""Answers made of segments: files and pipes sent by the kernel, clients that go or do not read, files that are shorter than promised."""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path

import pytest

from pier.http.message import Answer, FileSegment, Request, Segments
from tests.unit.http.talk import Client, served

GET = b"GET /x HTTP/1.1\r\nHost: docker\r\n\r\n"
Parts = Generator[bytes | FileSegment, None, None]


class Content:
    """A file, a pipe and bytes as one answer, and what became of it."""

    def __init__(self, folder: Path, size: int = 3 << 20) -> None:
        self.data = os.urandom(size)
        (folder / "file").write_bytes(self.data)
        self.fd = os.open(folder / "file", os.O_RDONLY)
        self.released = asyncio.Event()

    async def release(self) -> None:
        assert not self.released.is_set()
        os.close(self.fd)
        self.released.set()

    def answer(self, parts: Parts, size: int) -> Segments:
        return Segments(parts, size, "application/x-tar", self.release, headers=(("X-Own", "1"),))

    def three(self) -> Parts:
        yield b"head"
        yield FileSegment(self.fd, len(self.data) - 7, 7)
        read_fd, write_fd = os.pipe()
        os.write(write_fd, b"p" * 5000)
        os.close(write_fd)
        yield FileSegment(read_fd, 5000, pipe=True)
        os.close(read_fd)
        yield b""

    @property
    def whole(self) -> bytes:
        return b"head" + self.data[7:] + b"p" * 5000


def story(tmp_path: Path, make: Callable[[Content], Answer], then: Callable[[Content, Client], Awaitable[None]], size: int = 3 << 20) -> None:
    async def main() -> None:
        content = Content(tmp_path, size)

        async def handler(request: Request) -> Answer:
            return make(content)

        async with served(tmp_path, handler) as connect:
            await then(content, await connect())
            await content.released.wait()

    asyncio.run(main())


def test_files_and_pipes_are_sent_and_the_connection_lives_on(tmp_path: Path) -> None:
    async def then(content: Content, client: Client) -> None:
        await client.send(GET)
        status, headers, body = await client.answer()
        assert (status, headers["content-type"], headers["x-own"]) == (200, "application/x-tar", "1")
        assert hashlib.sha256(body).digest() == hashlib.sha256(content.whole).digest()
        await content.released.wait()
        content.released.clear()
        content.fd = os.open(tmp_path / "file", os.O_RDONLY)
        await client.send(GET)
        assert (await client.answer())[2] == content.whole

    story(tmp_path, lambda content: content.answer(content.three(), len(content.whole)), then)


def test_head_has_the_length_and_no_body(tmp_path: Path) -> None:
    async def then(content: Content, client: Client) -> None:
        await client.send(GET.replace(b"GET", b"HEAD"))
        assert (await client.head())[1]["content-length"] == str(len(content.whole))
        await content.released.wait()

    story(tmp_path, lambda content: content.answer(content.three(), len(content.whole)), then)


@pytest.mark.parametrize("read", [0, 1000], ids=["at once", "in the middle"])
def test_what_the_answer_stands_on_is_given_back_when_the_client_goes(tmp_path: Path, read: int) -> None:
    async def then(content: Content, client: Client) -> None:
        await client.send(GET)
        await client.reader.readexactly(read)
        client.writer.transport.abort()

    story(tmp_path, lambda content: content.answer(content.three(), len(content.whole)), then, 30 << 20)


def test_a_server_that_ends_does_not_wait_for_a_client_that_does_not_read(tmp_path: Path) -> None:
    # `served` closes the server while most of the answer is not read.
    async def main() -> None:
        content = Content(tmp_path, 30 << 20)

        async def handler(request: Request) -> Answer:
            return content.answer(content.three(), len(content.whole))

        async with served(tmp_path, handler) as connect:
            client = await connect()
            await client.send(GET)
            await client.reader.readexactly(1)
        assert content.released.is_set()

    asyncio.run(main())


def fails() -> Parts:
    yield b"x" * 1000
    raise OSError(5, "the disk")


@pytest.mark.parametrize(
    "parts",
    [
        lambda content: (part for part in [b"too short"]),
        lambda content: (part for part in [b"x" * 1000, b"one byte too much" * 1000]),
        lambda content: (part for part in [FileSegment(content.fd, 1 << 14, len(content.data) - 10)]),
        lambda content: fails(),
    ],
    ids=["fewer", "more", "a file cut short", "an error"],
)
def test_an_answer_that_cannot_be_whole_is_cut(tmp_path: Path, parts: Callable[[Content], Parts]) -> None:
    async def then(content: Content, client: Client) -> None:
        await client.send(GET)
        assert (await client.head())[1]["content-length"] == str(1 << 14)
        assert len(await client.rest()) < 1 << 14

    story(tmp_path, lambda content: content.answer(parts(content), 1 << 14), then)
