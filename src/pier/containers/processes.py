"""`ps -ef` for some processes, read from /proc: for hosts without ps."""

import os
import pwd
import time

from pier.api.models.containers import TopResponse

TITLES = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
MOST_COMMAND_BYTES = 64 << 10


def describe(pids: set[int]) -> TopResponse:
    """One row a process that is still there, in the order of pids."""
    with open("/proc/stat") as file:
        boot_s = next(int(line.split()[1]) for line in file if line.startswith("btime"))
    rows = [row for pid in sorted(pids) if (row := _row(pid, boot_s))]
    return TopResponse(titles=TITLES, processes=rows)


def _row(pid: int, boot_s: int) -> list[str] | None:
    hertz = os.sysconf("SC_CLK_TCK")
    try:
        with open(f"/proc/{pid}/stat", errors="replace") as file:  # its name is its own
            head, _, tail = file.read().rpartition(")")
        with open(f"/proc/{pid}/cmdline", "rb") as raw:
            command = raw.read(MOST_COMMAND_BYTES).rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
        uid = os.stat(f"/proc/{pid}").st_uid
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = tail.split()
    ticks, started_s = int(fields[11]) + int(fields[12]), boot_s + int(fields[19]) / hertz
    seconds, age_s = ticks // hertz, max(time.time() - started_s, 0.01)
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    terminal = int(fields[4])
    tty = f"pts/{(terminal & 0xFF) | (terminal >> 12 & 0xFFF00)}" if terminal >> 8 & 0xFFF == 136 else "?"
    stamp = time.strftime("%H:%M" if age_s < 86400 else "%b%d", time.localtime(started_s))
    share = str(min(99, int(100 * seconds / age_s)))
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return [user, str(pid), fields[1], share, stamp, tty, clock, command or f"[{head.partition('(')[2]}]"]
