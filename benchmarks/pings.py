"""How long a daemon takes to answer `_ping`, asked by a process of its own; beside it, in turn, the smallest server that asyncio can be: the floor.

    with Pings(engine.socket) as pings: ...
    pings.daemon, pings.floor      # milliseconds of each answer

What measures must not wait for itself: a process that starts commands holds its interpreter while it forks.
"""

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from tests.harness.commands import eventually

_PAUSE_S = 0.005
_REQUEST = b"GET /_ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK"


class Pings:
    """Both are asked in turn from `with` to its end, each on a new connection."""

    def __init__(self, daemon: Path) -> None:
        """daemon: its socket."""
        self._sockets = [str(daemon)]
        self.daemon: list[float] = []
        self.floor: list[float] = []

    def __enter__(self) -> "Pings":
        self._folder = tempfile.TemporaryDirectory(prefix="pier-bench-", dir="/tmp")
        floor = Path(self._folder.name, "s")
        self._server = subprocess.Popen([sys.executable, "-m", "benchmarks.pings", "serve", str(floor)])
        eventually(floor.exists, 20.0, "the smallest server listens")
        self._asker = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.pings", "ask", *self._sockets, str(floor)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        out, _ = self._asker.communicate()
        self._server.kill()
        self._server.wait()
        self._folder.cleanup()
        if kind is None:
            self.daemon, self.floor = json.loads(out)


def _ask(paths: list[str]) -> None:
    """Ask each in turn until stdin ends; then print the milliseconds of each, in the order of `paths`."""
    import select

    took: list[list[float]] = [[] for _ in paths]
    while not select.select([0], [], [], _PAUSE_S)[0]:
        for path, times in zip(paths, took, strict=True):
            began = time.perf_counter()
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                sock.sendall(_REQUEST)
                answer = b""
                while part := sock.recv(4096):
                    answer += part
            assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"OK"), answer
            times.append((time.perf_counter() - began) * 1000)
    print(json.dumps(took))


async def _serve(path: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_ANSWER)
        writer.close()

    async with await asyncio.start_unix_server(answer, path) as server:
        await server.serve_forever()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", path]:
            asyncio.run(_serve(path))
        case ["ask", *paths]:
            _ask(paths)
