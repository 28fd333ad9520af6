"""What a blank child holds between its steps, and how a step says that it failed."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from pier.linux import mounts
from pier.linux.processes import Program

_LABELLED_BY_POLICY = ("proc", "sysfs", "cgroup", "cgroup2", "mqueue")
READ_LIMIT_BYTES = 4 << 20  # of a container's /etc/passwd and /etc/group


class StepFailed(Exception):
    """A step that cannot be done, in the words that the user gets. `exit_code`: 127 no such command, 126 cannot run, else 128."""

    def __init__(self, message: str, error: OSError | None = None, exit_code: int = 128, path: str | None = None) -> None:
        super().__init__(message)
        self.errno = error.errno if error is not None else 0
        self.path = path or (str(error.filename) if error is not None and error.filename else "")
        self.exit_code = exit_code


Filesystem = tuple[str, int, tuple[tuple[str, str | None], ...]]
"""(type, attributes, options in order): two of a key are alike."""


def filesystem_key(kind: str, options: mounts.Options, attributes: int) -> Filesystem:
    """What tells file systems made ahead apart."""
    pairs = cast("Iterable[tuple[str, str | None]]", options.items() if isinstance(options, Mapping) else options)
    return kind, attributes, tuple(pairs)


class State:
    """Descriptors and decisions of the child so far. Every descriptor in it is close-on-exec."""

    def __init__(self, fds: list[int], channel: Any) -> None:
        self.fds = fds  # handed over with the plan
        self.channel = channel
        self.root_fd = -1  # O_PATH of the container's root
        self.proc_fd = -1  # a detached procfs that nothing is mounted on: what init writes to cannot be redirected (CVE-2025-52881)
        self.null_fd = -1  # the host's /dev/null, for an exec
        self.dev_fd = -1  # the container's /dev that we made
        self.pts_fd = -1
        self.sources: dict[str, tuple[int, bool]] = {}  # slot -> detached bind, and whether it is a folder
        self.mount_label = ""  # of SELinux: what file systems made for the container are labelled with
        self.layers: dict[str, int] = {}  # name -> detached clone of a layer's mount
        self.streams: list[int] = [-1, -1, -1]
        self.root_mount_fd = -1
        self.uid = 0
        self.gid = 0
        self.groups: list[int] = []
        self.home = "/"
        self.late_workdir = ""  # where root may not go: its user tries
        self.program: Program | None = None
        self.path = b""

        self.ahead: dict[Filesystem, list[int]] = {}  # detached file systems that were made before the plan was there
        self.dev_ahead: tuple[list[Any], int] | None = None  # the same of /dev: what is in it, and its mount
        self.left_host_propagation = False
        self.loopback_up = False
        self.sysctls: dict[str, str] = {}  # written already
        self.oom_score_adj: int | None = None

    def new_filesystem(self, kind: str, options: mounts.Options, attributes: int) -> int:
        """A detached mount of a file system of our own: one made ahead where there is such a one, else a new one. Raises OSError."""
        if self.mount_label and kind not in _LABELLED_BY_POLICY:
            options = self.labelled(options)
        if made := self.ahead.get(filesystem_key(kind, options, attributes)):
            return made.pop()
        return mounts.new_filesystem(kind, options, attributes)

    def labelled(self, options: mounts.Options) -> list[tuple[str, str | None]]:
        """Options of a file system, with the container's label for all that is in it where it has one."""
        pairs = mounts.pairs(options)
        return [*pairs, ("context", self.mount_label)] if self.mount_label else pairs

    def warn(self, text: str) -> None:
        """Tell the daemon of something that degrades and does not fail."""
        self.channel.send({"op": "warning", "message": text})

    def copied(self, destination: str) -> None:
        """Tell the daemon that the volume for this place has all that it gets: a child that is killed on the way never says so."""
        self.channel.send({"op": "copied", "destination": destination})
