"""How the daemon reaches its keeper: by its socket, starting it where nobody answers."""

import asyncio
import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pier.errors import Unavailable

_TIMEOUT_S = 60.0  # it imports all that its helpers need: a slow machine takes its time; one that has ended is not waited for


class KeeperDoor:
    """The keeper of one exec root, and the command that starts it."""

    def __init__(self, exec_root: Path, command: Sequence[str]) -> None:
        self._exec_root, self._command = exec_root, list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self.log = exec_root / "keeper.log"

    async def reach(self) -> socket.socket:
        """A connection to the keeper, started if need be. Raises Unavailable, which names the log."""
        path, loop = str(self._exec_root / "keeper.sock"), asyncio.get_running_loop()
        deadline, pause_s, started = loop.time() + _TIMEOUT_S, 0.003, False
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
            try:
                sock.connect(path)
                return sock
            except OSError as error:
                sock.close()
                ended = self._process.poll() if self._process else None
                if not started:
                    self._start()
                    started = True
                elif ended:
                    raise Unavailable(f"the keeper ended with {ended}; {self.log} says why") from error
                if loop.time() > deadline:
                    raise Unavailable(f"the keeper does not answer on {path}: {error}; see {self.log}") from error
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.1)

    async def closed(self) -> None:
        """Wait until a keeper that was started here, and told to end, has."""
        if self._process:
            await asyncio.get_running_loop().run_in_executor(None, self._process.wait)

    def _start(self) -> None:
        self._exec_root.mkdir(mode=0o711, parents=True, exist_ok=True)
        with open(os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab") as file:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd="/", start_new_session=True)
