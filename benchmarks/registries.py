"""Registries for the measures: Debian's docker-registry, one process in each contender's network namespace, over one folder of blobs."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contenders import Contenders
from tests.harness import reference
from tests.harness.commands import eventually
from tests.harness.engine import Engine

PORT = 5000
HOST = f"127.0.0.1:{PORT}"
_CONFIG = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}, maintenance: {{uploadpurging: {{enabled: false}}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


def program() -> str:
    """The registry of the peers, which runs on this machine as it is; else the system's; "" where there is none."""
    return reference.client("docker-registry") or shutil.which("docker-registry") or ""


class Blobs:
    """A folder that registries serve and take into; in /tmp, which every contender sees."""

    def __init__(self, stack: ExitStack) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="pier-bench-registry-", dir="/tmp"))
        stack.callback(shutil.rmtree, self.root, ignore_errors=True)
        self._stack = stack
        (self.root / "blobs").mkdir()
        self.config = self.root / "config.yml"
        self.config.write_text(_CONFIG.format(root=self.root / "blobs", port=PORT))

    def serve(self, inside: Callable[[Sequence[str]], list[str]]) -> None:
        """Run a registry where `inside` takes a command line, until the stack ends; returns once it answers there."""
        process = subprocess.Popen(
            inside([program(), "serve", str(self.config)]), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._stack.callback(_end, process)
        probe = inside(["python3", "-c", f"import urllib.request; urllib.request.urlopen('http://{HOST}/v2/')"])
        eventually(lambda: subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode == 0, 20.0, "the registry answers")

    def keep(self, folder: Path) -> None:
        """Keep what is there for another time."""
        draft = folder.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(self.root / "blobs", draft, copy_function=os.link)
        draft.rename(folder)

    def take(self, folder: Path) -> bool:
        """Have what was kept; False where nothing was."""
        if folder.exists():
            self.empty()
            shutil.copytree(folder, self.root / "blobs", copy_function=shutil.copy2, dirs_exist_ok=True)
        return folder.exists()

    def empty(self) -> None:
        """Forget every blob; the registries go on."""
        shutil.rmtree(self.root / "blobs")
        (self.root / "blobs").mkdir()


def beside_engine(engine: Engine) -> Callable[[Sequence[str]], list[str]]:
    """Command lines in the namespaces of a Pier."""
    return lambda argv: engine.namespaces.argv(*argv)


def beside_peers(peers: reference.Reference) -> Callable[[Sequence[str]], list[str]]:
    """Command lines of this machine in the network namespace of the reference."""
    return lambda argv: ["nsenter", "--target", str(peers.pid), "--net", "--", *argv]


def serve_all(c: Contenders, blobs: Blobs) -> None:
    """One registry beside each contender."""
    blobs.serve(beside_engine(c.engine))
    if c.peers:
        blobs.serve(beside_peers(c.peers))


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


__all__ = ["HOST", "Blobs", "beside_engine", "beside_peers", "program", "serve_all"]
