"""A server with a handler of the test's own on a socket pair or a socket file, and a plain client to talk to it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from pier.http.connection import Handler, Limits
from pier.http.server import Server


class Client:
    """Writes bytes, reads answers; never more clever than that."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        return int(lines[0].split()[1]), dict(line.lower().split(": ", 1) for line in lines[1:] if line)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        status, headers = await self.head()
        if "content-length" in headers:
            return status, headers, await self.reader.readexactly(int(headers["content-length"]))
        body = b""
        while headers.get("transfer-encoding") == "chunked" and (size := int(await self.reader.readline(), 16)) >= 0:
            body += (await self.reader.readexactly(size + 2))[:-2]
            if not size:
                break
        return status, headers, body

    async def rest(self) -> bytes:
        return await self.reader.read()


@asynccontextmanager
async def served(folder: Path, handler: Handler, limits: Limits | None = None) -> AsyncIterator[Callable[[], Awaitable[Client]]]:
    listener = socket.socket(socket.AF_UNIX)
    path = str(folder / "s")
    Path(path).unlink(missing_ok=True)
    listener.bind(path)
    listener.listen(16)
    server = Server(listener, handler, limits)
    clients: list[Client] = []

    async def connect() -> Client:
        clients.append(Client(*await asyncio.open_unix_connection(path)))
        return clients[-1]

    try:
        async with asyncio.timeout(20):
            yield connect
    finally:
        await server.close()
        for client in clients:
            client.writer.close()
