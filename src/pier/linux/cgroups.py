"""cgroups(7): where a container's cgroups are, in the three layouts that hosts have, and what is done to them.

    v1, hybrid   /sys/fs/cgroup/<hierarchy>/pier-<instance>/<id>    one folder in each hierarchy; in a hybrid layout also in `unified`
    v2           /sys/fs/cgroup/pier-<instance>/<id>

Invariant: a cgroup of a container is created before its first process and removed after its last; nothing here creates or
changes a cgroup outside `pier-<instance>`, but for turning controllers on in the root of a v2 tree (`prepare`).
"""

import errno
import os
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

_V2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc")
_RETRIES = 50


class Hierarchy(NamedTuple):
    """A mounted tree: `name` is its folder under the root ("" for v2), `controllers` what it has ("name=systemd" for a named one)."""

    name: str
    folder: str
    controllers: tuple[str, ...]
    v2: bool


class CgroupLayout(NamedTuple):
    """The host's cgroups and Pier's place in them. `mode` is "v1", "hybrid" or "v2"; `parent` is `pier-<instance>`."""

    mode: str
    parent: str
    hierarchies: tuple[Hierarchy, ...]

    @classmethod
    def detect(cls, instance: str = "pier", mountinfo: str | None = None, read: "Callable[[str], str] | None" = None) -> "CgroupLayout":
        """What is mounted here; `mountinfo` (the text of /proc/self/mountinfo) and `read` (of a file's text) are for tests.

        Raises OSError(ENOENT) where no cgroup file system is mounted.
        """
        if mountinfo is None:
            mountinfo = _read("/proc/self/mountinfo")
        found: list[Hierarchy] = []
        for line in mountinfo.splitlines():
            left, _, right = line.partition(" - ")
            fields, (kind, _, options) = left.split(), right.split()[:3]
            folder = fields[4]
            if kind not in ("cgroup", "cgroup2") or any(folder == other.folder for other in found):
                continue
            if kind == "cgroup2":
                try:
                    controllers = tuple((read or _read)(f"{folder}/cgroup.controllers").split())
                except OSError:
                    controllers = ()
                found.append(Hierarchy("" if folder == "/sys/fs/cgroup" else os.path.basename(folder), folder, controllers, True))
            else:
                own = tuple(
                    o
                    for o in options.split(",")
                    if o not in ("rw", "ro", "xattr", "clone_children", "noprefix") and not o.startswith("release_agent")
                )
                if not any(set(own) <= set(other.controllers) for other in found):
                    found.append(Hierarchy(os.path.basename(folder), folder, own, False))
        if not found:
            raise OSError(errno.ENOENT, "no cgroup file system is mounted; mount one at", "/sys/fs/cgroup")
        kinds = {hierarchy.v2 for hierarchy in found}
        mode = "v2" if kinds == {True} else "v1" if kinds == {False} else "hybrid"
        return cls(mode, f"pier-{instance}", tuple(found))

    def hierarchy(self, controller: str) -> Hierarchy | None:
        """The tree that has this controller; "" is the v2 tree, or the first one there is. None where the host has none."""
        if not controller:
            return next((h for h in self.hierarchies if h.v2), self.hierarchies[0])
        v1 = next((h for h in self.hierarchies if controller in h.controllers and not h.v2), None)
        return v1 or next((h for h in self.hierarchies if controller in h.controllers), None)

    def path(self, id: str, controller: str = "") -> str:
        """The folder of container `id` in the tree of a controller. Raises OSError(ENOENT) where the host has no such controller."""
        tree = self.hierarchy(controller)
        if tree is None:
            raise OSError(errno.ENOENT, "this host has no such cgroup controller", controller)
        return f"{tree.folder}/{self.parent}/{_checked(id)}"

    def prepare(self) -> None:
        """Make `pier-<instance>` in every tree, with all controllers on for its children. Once at start; idempotent. Raises OSError."""
        for tree in self.hierarchies:
            parent = f"{tree.folder}/{self.parent}"
            _mkdir(parent)
            if tree.v2 and self.mode == "v2":
                wanted = [name for name in _V2_CONTROLLERS if name in tree.controllers]
                for folder in (tree.folder, parent):
                    _enable(folder, wanted)
            elif "cpuset" in tree.controllers and not tree.v2:
                _inherit_cpuset(parent, tree.folder)

    def controllers(self) -> frozenset[str]:
        """What containers can be limited by, after `prepare`: on v2 a controller may be there but not ours to turn on."""
        found: set[str] = set()
        for tree in self.hierarchies:
            if tree.v2 and self.mode == "v2":
                try:
                    found.update(_read(f"{tree.folder}/{self.parent}/cgroup.subtree_control").split())
                except FileNotFoundError:
                    pass
            else:
                found.update(tree.controllers)
        return frozenset(found)

    def accounts_swap(self) -> bool:
        """Whether swap can be limited, after `prepare`."""
        tree = self.hierarchy("memory")
        return tree is not None and os.path.exists(f"{tree.folder}/{self.parent}/memory.{'swap.max' if tree.v2 else 'memsw.limit_in_bytes'}")

    def create(self, id: str) -> None:
        """Make the cgroups of `id` in every tree. Raises OSError; what was made then is removed again."""
        try:
            for tree in self.hierarchies:
                folder = f"{tree.folder}/{self.parent}/{_checked(id)}"
                try:
                    os.mkdir(folder, 0o755)
                except FileNotFoundError:
                    self.prepare()
                    _mkdir(folder)
                except FileExistsError:
                    pass
                if "cpuset" in tree.controllers and not tree.v2:
                    _inherit_cpuset(folder, os.path.dirname(folder))
        except OSError:
            self.remove(id)
            raise

    def join(self, id: str, pid: int = 0) -> None:
        """Move a process (0: the caller) into the cgroups of `id`. Raises OSError."""
        for tree in self.hierarchies:
            _write(f"{tree.folder}/{self.parent}/{_checked(id)}/cgroup.procs", str(pid))

    def open_joins(self, id: str, pid: int = 0) -> tuple[list[int], int]:
        """What a process needs to be in each cgroup of `id`: `tasks` of v1, to which it writes 0, and the folder of v2 to be born in (-1: none).

        Both spare the wait for an RCU grace period, 8 to 20 ms, that a write to `cgroup.procs` costs after an idle spell: a single
        thread that moves itself takes no lock (Linux 5.19), nor does a birth in the cgroup. Raises OSError.

        A v2 cgroup that has controllers on for its children takes no process itself (a Docker or systemd inside does that):
        then it is the one below it in which `pid`, the first of the container, is.
        """
        fds: list[int] = []
        birthplace = -1
        try:
            for tree in self.hierarchies:
                folder = f"{tree.folder}/{self.parent}/{_checked(id)}"
                if pid and tree.v2 and self.mode == "v2" and _read(f"{folder}/cgroup.subtree_control").strip():
                    folder = self._below(tree, id, pid)
                if tree.v2:
                    birthplace = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                else:
                    fds.append(os.open(f"{folder}/tasks", os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            for fd in (*fds, birthplace):
                if fd >= 0:
                    os.close(fd)
            raise
        return fds, birthplace

    def _below(self, tree: Hierarchy, id: str, pid: int) -> str:
        own = f"/{self.parent}/{id}"
        path = next((line[3:] for line in _read(f"/proc/{pid}/cgroup").splitlines() if line.startswith("0::")), own)
        return tree.folder + (path if path.startswith(f"{own}/") and ".." not in path.split("/") else own)

    def remove(self, id: str) -> bool:
        """Remove the cgroups of `id` and those that the container made below. False where a process is still in one (EBUSY)."""
        gone = True
        for tree in self.hierarchies:
            gone &= _remove_tree(f"{tree.folder}/{self.parent}/{_checked(id)}")
        return gone

    def remove_parent(self) -> None:
        """Remove `pier-<instance>` where nothing is left in it; leaves it where something is."""
        for tree in self.hierarchies:
            try:
                os.rmdir(f"{tree.folder}/{self.parent}")
            except OSError:
                pass

    def exists(self, id: str) -> bool:
        """Whether any cgroup of `id` is there."""
        return any(os.path.isdir(f"{tree.folder}/{self.parent}/{_checked(id)}") for tree in self.hierarchies)

    def ids(self) -> set[str]:
        """The ids that have a cgroup in any tree."""
        found: set[str] = set()
        for tree in self.hierarchies:
            try:
                with os.scandir(f"{tree.folder}/{self.parent}") as entries:
                    found.update(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            except FileNotFoundError:
                pass
        return found

    def pids(self, id: str) -> list[int]:
        """The processes in the cgroup of `id` and below, in the caller's pid namespace, ascending; empty where there is none."""
        tree = self.hierarchy("freezer") or self.hierarchy("")
        assert tree is not None
        found: set[int] = set()
        for folder, _, _ in os.walk(f"{tree.folder}/{self.parent}/{_checked(id)}"):
            found.update(_pids(folder))
        return sorted(found)

    def kill(self, id: str) -> None:
        """SIGKILL every process in the cgroup of `id`, also new ones that they fork meanwhile; frozen ones are thawed to die.

        Returns when the signals are sent. Raises OSError.
        """
        self.thaw(id)
        unified = next((h for h in self.hierarchies if h.v2), None)
        if unified is not None:
            try:
                _write(f"{unified.folder}/{self.parent}/{_checked(id)}/cgroup.kill", "1")
                if self.mode == "v2":
                    return
            except FileNotFoundError:
                pass  # before 5.14, or no such cgroup
        for _ in range(_RETRIES):
            pids = self.pids(id)
            if not pids:
                return
            # A fork bomb outruns a loop of kills: it is frozen first. A frozen v1 cgroup dies only when it thaws (measured).
            self.freeze(id)
            for pid in self.pids(id):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.thaw(id)
            time.sleep(0.002)

    def freeze(self, id: str) -> None:
        """Stop every process of `id`: `thaw` lets them go on. Does nothing where the cgroup is gone. Raises OSError."""
        self._freezer(id, "FROZEN", "1")

    def thaw(self, id: str) -> None:
        """Let what `freeze` stopped go on. Does nothing where the cgroup is gone. Raises OSError."""
        self._freezer(id, "THAWED", "0")

    def is_frozen(self, id: str) -> bool:
        """Whether what `freeze` asked for is done: every process of `id` stands still. True too where there is no such cgroup or freezer."""
        for tree in self.hierarchies:
            folder = f"{tree.folder}/{self.parent}/{_checked(id)}"
            try:
                if "freezer" in tree.controllers and not tree.v2:
                    return _read(f"{folder}/freezer.state").strip() == "FROZEN"
                if tree.v2 and self.mode == "v2":
                    return "frozen 1" in _read(f"{folder}/cgroup.events").splitlines()
            except OSError:
                return True  # it has just gone
        return True

    def _freezer(self, id: str, v1: str, v2: str) -> None:
        for tree in self.hierarchies:
            try:
                if "freezer" in tree.controllers and not tree.v2:
                    _write(f"{tree.folder}/{self.parent}/{_checked(id)}/freezer.state", v1)
                elif tree.v2 and self.mode == "v2":
                    _write(f"{tree.folder}/{self.parent}/{_checked(id)}/cgroup.freeze", v2)
            except FileNotFoundError:
                pass

    def oom_kills(self, id: str) -> int:
        """How many processes of `id` the kernel killed for want of memory; 0 where the cgroup or the controller is gone."""
        tree = self.hierarchy("memory")
        if tree is None:
            return 0
        file = "memory.events" if tree.v2 else "memory.oom_control"
        try:
            text = _read(f"{tree.folder}/{self.parent}/{_checked(id)}/{file}")
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)


def _checked(id: str) -> str:
    if not id or "/" in id or "\0" in id or id.startswith("."):
        raise ValueError(f"{id!r} is no name of a cgroup")
    return id


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)


def _mkdir(path: str) -> None:
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        pass


def _enable(folder: str, controllers: list[str]) -> None:
    on = set(_read(f"{folder}/cgroup.subtree_control").split())
    for name in controllers:
        if name not in on:
            try:
                _write(f"{folder}/cgroup.subtree_control", f"+{name}")
            except OSError:
                pass  # a controller that cannot be turned on is a limit that cannot be set: `limits` says so by name


def _inherit_cpuset(folder: str, parent: str) -> None:
    """A v1 cpuset begins empty, and an empty one takes no process."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if not _read(f"{folder}/{file}").strip():
            text = _read(f"{parent}/{file}").strip()
            if text:
                _write(f"{folder}/{file}", text)


def _pids(folder: str) -> list[int]:
    try:
        # 0 stands for a process outside the reader's pid namespace: it is nobody that could be named here
        return [pid for pid in map(int, _read(f"{folder}/cgroup.procs").split()) if pid]
    except (FileNotFoundError, OSError):
        return []


def _remove_tree(folder: str) -> bool:
    for _ in range(_RETRIES):
        try:
            os.rmdir(folder)
            return True
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                raise
        below = [path for path, _, _ in os.walk(folder, topdown=False) if path != folder]
        if not below and _pids(folder):
            return False
        for path in below:
            try:
                os.rmdir(path)
            except OSError:
                pass
        time.sleep(0.001)  # the last process has exited, its cgroup lets go a moment later
    return False
