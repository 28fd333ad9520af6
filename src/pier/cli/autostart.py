"""Starting a daemon where none answers on the default socket: the first `pier run` on a fresh machine just works."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pier.cli.session import Cli

PATIENCE_S = 15.0
LOG_FILE = "/var/log/pierd.log"


def daemon_command(argv0: str = "", path: str = "") -> list[str]:
    """The daemon of the same installation, `pierd` beside this program, else the first in `path`. Raises CommandError."""
    from pier.cli.session import CommandError

    here = os.path.dirname(os.path.realpath(argv0 or sys.argv[0]))
    for folder in (here, *path.split(":")):
        found = os.path.join(folder, "pierd")
        if folder and os.access(found, os.X_OK):
            return [found]
    raise CommandError(f"no daemon answers, and there is no pierd in {here} or PATH to start: is Pier installed whole?")


def starter(cli: "Cli") -> "Callable[[], bool]":
    """A function that starts the daemon in the background, waits until it answers, and says on stderr what it does.

    It returns True when the daemon answers. Raises CommandError where it ended or did not answer in time.
    """

    def start() -> bool:
        from pier.cli.session import CommandError, check_host
        from pier.client.connection import Unreachable, dial

        command = daemon_command(path=cli.environ.get("PATH", ""))
        log_fd = os.open(LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        cli.err(f"pier: no daemon answers on {cli.endpoint.host}: starting {os.path.basename(command[0])} (log: {LOG_FILE})\n")
        pid = _spawn(command, log_fd)
        os.close(log_fd)
        import time

        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                dial(check_host(cli.endpoint.host)).close()
                return True
            except Unreachable:
                pass
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                raise CommandError(f"the daemon ended with exit status {os.waitstatus_to_exitcode(status)}: see {LOG_FILE}")
            time.sleep(0.01)
        raise CommandError(f"the daemon does not answer on {cli.endpoint.host} after {PATIENCE_S:.0f} s: see {LOG_FILE}")

    return start


def _spawn(command: list[str], log_fd: int) -> int:
    """Run `command` in a session of its own with nothing of ours but the log; its pid."""
    null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        return os.posix_spawnp(
            command[0],
            command,
            {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **os.environ},
            file_actions=[(os.POSIX_SPAWN_DUP2, null_fd, 0), (os.POSIX_SPAWN_DUP2, log_fd, 1), (os.POSIX_SPAWN_DUP2, log_fd, 2)],
            setsid=True,
        )
    finally:
        os.close(null_fd)
