"""A real pierd for a test module: its own roots, mount and network namespace; started, killed, upgraded and stopped as tests please.

    with Engine() as engine:            # or the fixtures `engine` and `engine_class` of tests/engine/conftest.py
        engine.pier("run", "--rm", "busybox", "true").ok()
        engine.kill("pump"); engine.kill("daemon"); engine.start()
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from . import images
from .api import Api
from .commands import Done, eventually, run
from .holder import descendants
from .terminal import Terminal

SOURCE = Path(__file__).resolve().parents[2] / "src"
HELPERS = ("keeper", "launcher", "netd", "pump", "worker")


def program(name: str, module: str) -> list[str]:
    """The command line of an installed program beside this interpreter, else of its module in the checkout."""
    beside = Path(sys.executable).parent / name
    if os.access(beside, os.X_OK):
        return [str(beside)]
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SOURCE)!r}); from {module} import main; sys.exit(main())"]


class Namespaces:
    """Mount and network namespaces with a parent for every orphan in them (holder.py)."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).with_name("holder.py"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = int(self._answer()["pid"])

    def _answer(self) -> dict[str, Any]:
        out: IO[str] | None = self._process.stdout
        line = out.readline() if out else ""
        assert line, "the namespaces' holder ended"
        return dict(json.loads(line))

    def _ask(self, **question: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        return self._answer()

    def spawn(self, argv: Sequence[str], env: Mapping[str, str], log: Path) -> int:
        """Start a program inside; its pid."""
        return int(self._ask(spawn=list(argv), env=dict(env), log=str(log))["pid"])

    def exit_code(self, pid: int) -> int | None:
        """The exit code of a process that was started inside (negative: killed by that signal), None while it runs."""
        code = self._ask(status=pid)["code"]
        return None if code is None else int(code)

    def argv(self, *command: str) -> list[str]:
        """The command line that runs `command` inside."""
        return ["nsenter", "--target", str(self.pid), "--mount", "--net", "--", *command]

    def processes(self) -> list[int]:
        """All that live inside, whoever forked them."""
        return descendants(self.pid)

    def close(self) -> None:
        """Kill everything inside."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait(60)
        if self._process.stdout:
            self._process.stdout.close()


class Engine:
    """A daemon with roots under /tmp (or `roots`); `options` go to pierd, `env` (PIER_FAIL, PIER_FEATURES, ...) to its environment."""

    def __init__(self, *options: str, env: Mapping[str, str] | None = None, namespaces: Namespaces | None = None) -> None:
        self.roots = Path(tempfile.mkdtemp(prefix="pier-t-", dir="/tmp"))
        self.data_root, self.exec_root, self.log = self.roots / "data", self.roots / "exec", self.roots / "log"
        self.socket, self.host = self.roots / "s", f"unix://{self.roots}/s"
        self.options, self.extra_env = options, dict(env or {})
        self.namespaces = namespaces or Namespaces()
        self._own_namespaces = namespaces is None
        self.api = Api(str(self.socket))
        self.pid = 0
        (self.roots / "home").mkdir()

    # -- life

    def __enter__(self) -> "Engine":
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            print(f"--- log of the engine\n{self.log_text()[-8000:]}")
        self.close()

    @property
    def env(self) -> dict[str, str]:
        """The environment of the daemon: nothing of the tests' own but PATH."""
        return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.roots / "home"), **self.extra_env}

    def start(self, *options: str, wait: bool = True, **env: str) -> None:
        """Start the daemon; with `wait` until it answers. AssertionError with its log when it ends instead."""
        argv = [*program("pierd", "pier.daemon.main"), "--data-root", str(self.data_root), "--exec-root", str(self.exec_root), "-H", self.host]
        argv += ["--config-file", str(self.config_file()), *self.options, *options]
        self.pid = self.namespaces.spawn(argv, {**self.env, **env}, self.log)
        if wait:
            eventually(self.answers, 30.0, "the daemon's first answer")

    def config_file(self) -> Path:
        """daemon.json, made empty where a test did not write one: the machine's own must not matter."""
        path = self.roots / "daemon.json"
        if not path.exists():
            path.write_text("{}")
        return path

    def answers(self) -> bool:
        """Whether the daemon answers a ping; AssertionError with its log when it has ended."""
        code = self.namespaces.exit_code(self.pid)
        assert code is None, f"pierd ended with {code}\n{self.log_text()[-8000:]}"
        try:
            return self.api("GET", "/_ping", timeout_s=5).status == 200
        except OSError:
            return False

    def pid_of(self, name: str) -> int:
        """The process of the daemon or one of its helpers; AssertionError where there is none and none comes.

        /proc gives no snapshot: a process whose parent ends meanwhile is missing from one look and there in the next."""
        if name == "daemon":
            return self.pid
        return eventually(lambda: self.pids_of(name), 5.0, f"a {name} runs")[0]

    def pids_of(self, name: str) -> list[int]:
        """All processes of that helper (there may be several workers, or none)."""
        return [pid for pid in self.namespaces.processes() if self._title(pid) == f"pier-{name}"]

    @staticmethod
    def _title(pid: int) -> str:
        try:
            return Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            return ""

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to the daemon or a helper, by name; with SIGKILL waits until it is gone. Returns its pid."""
        pid = self.pid_of(name)
        os.kill(pid, number)
        if number == signal.SIGKILL:
            eventually(lambda: pid not in self.namespaces.processes(), says=f"{name} dies")
        return pid

    def stop(self, number: int = signal.SIGTERM, limit_s: float = 30.0) -> int:
        """End the daemon by a signal; returns its exit code. Containers and helpers stay (SIGQUIT ends them too)."""
        os.kill(self.pid, number)
        eventually(lambda: self.namespaces.exit_code(self.pid) is not None, limit_s, f"the daemon ends after {signal.Signals(number).name}")
        code = self.namespaces.exit_code(self.pid)
        assert code is not None
        return code

    def restart(self, **env: str) -> None:
        """End the daemon in good order and start it again; containers run on."""
        self.stop()
        self.start(**env)

    def close(self) -> None:
        """End everything and remove the roots. Cgroups that are left are removed, too; AssertionError names what cannot be."""
        if self._own_namespaces:
            self.namespaces.close()
        for path in self.cgroups():
            eventually(lambda path=path: _rmdir(path), 5.0, f"{path} can be removed")  # type: ignore[misc]
        shutil.rmtree(self.roots, ignore_errors=True)

    # -- what it holds

    @property
    def instance(self) -> str:
        """The name that its cgroups, links and tables carry (docs/design.md: 8 hex of the exec root's hash)."""
        return hashlib.sha256(str(self.exec_root).encode()).hexdigest()[:8]

    def cgroups(self) -> list[Path]:
        """Its cgroup folders in every hierarchy, deepest first."""
        tops = [*Path("/sys/fs/cgroup").glob(f"pier-{self.instance}"), *Path("/sys/fs/cgroup").glob(f"*/pier-{self.instance}")]
        found = [Path(p) for top in tops if not top.parent.is_symlink() for p, _, _ in os.walk(top)]  # unlike rglob it minds none that goes meanwhile
        return sorted(found, key=lambda p: -len(p.parts))

    def log_text(self) -> str:
        """What the daemon and its helpers wrote."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def containers(self) -> list[str]:
        """The IDs of all its containers."""
        return [c["Id"] for c in self.api.get("/containers/json", all=True)]

    # -- clients

    @property
    def client_env(self) -> dict[str, str]:
        """The environment of a client: this daemon, no configuration, no daemon started behind the test's back."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.roots / "home"), "DOCKER_HOST": self.host, "PIER_AUTOSTART": "0"}

    def pier(self, *words: str, stdin: bytes | None = None, limit_s: float = 60.0) -> Done:
        """Pier's own command line on this daemon."""
        return run([*program("pier", "pier.cli.main"), *words], self.client_env, stdin, limit_s)

    def docker(self, *words: str, stdin: bytes | None = None, limit_s: float = 60.0) -> Done:
        """The real docker command on this daemon."""
        from . import reference

        command = reference.client() or shutil.which("docker")
        assert command, "no docker command on this machine"
        return run([command, *words], self.client_env, stdin, limit_s)

    def terminal(self, *words: str, rows: int = 24, cols: int = 80) -> Terminal:
        """Pier's own command line on a terminal."""
        return Terminal([*program("pier", "pier.cli.main"), *words], self.client_env, rows, cols)

    def load_busybox(self, tag: str = "busybox:latest") -> str:
        """Load the busybox image through the API; returns its ID."""
        path = self.roots / "busybox.tar"
        image_id = images.busybox_archive(path, tag)
        answer = self.api("POST", "/images/load", data=path.read_bytes(), quiet=True).ok()
        assert b"error" not in answer.body, answer.body
        path.unlink()
        return image_id


def _rmdir(path: Path) -> bool:
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
