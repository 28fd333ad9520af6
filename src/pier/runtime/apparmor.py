"""The AppArmor profile `pier-default`: its text (pure), and giving it to the kernel through apparmor_parser.

The rules are those of docker-default: everything a container may do by its capabilities, less writes to what changes the
host through /proc and /sys, less mounts, and signals and ptrace only among the processes of the same profile.
Source: apparmor.d(5).
"""

import shutil
import subprocess

from pier.errors import Unavailable

NAME = "pier-default"
_LOADED = "/sys/kernel/security/apparmor/profiles"
_PARSER_TIMEOUT_S = 30


def text(name: str = NAME, daemon_profile: str = "unconfined") -> str:
    """The profile `name`; `daemon_profile` is what the daemon itself runs under: it must be able to send signals in."""
    return f"""#include <tunables/global>

profile {name} flags=(attach_disconnected,mediate_deleted) {{
  #include <abstractions/base>

  network,
  capability,
  file,
  umount,
  # signals come from the daemon, and from one process of the container to another
  signal (receive) peer={daemon_profile},
  signal (receive) peer=unconfined,
  signal (send,receive) peer={name},
  # in /proc only the own processes are for writing
  deny @{{PROC}}/* w,
  deny @{{PROC}}/{{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}}/** w,
  deny @{{PROC}}/sys/[^k]** w,
  deny @{{PROC}}/sys/kernel/{{?,??,[^s][^h][^m]**}} w,
  deny @{{PROC}}/sysrq-trigger rwklx,
  deny @{{PROC}}/kcore rwklx,

  deny mount,

  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,

  ptrace (trace,read,tracedby,readby) peer={name},
}}
"""


def loaded(name: str = NAME) -> bool:
    """Whether the kernel has the profile; False where AppArmor is off."""
    try:
        with open(_LOADED, encoding="utf-8") as file:
            return any(line.split(" (")[0] == name for line in file)
    except OSError:
        return False


def load(name: str = NAME) -> None:
    """Give the kernel the profile, or its new text. Once at start: it runs apparmor_parser.

    Raises Unavailable where the parser is missing or refuses; the message says what to install or what it said.
    """
    parser = shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if parser is None:
        raise Unavailable(f"AppArmor is enabled but its profile {name} cannot be loaded: apparmor_parser is missing (Debian package apparmor)")
    try:
        done = subprocess.run([parser, "-Kr"], input=text(name), text=True, capture_output=True, timeout=_PARSER_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"AppArmor profile {name} cannot be loaded: {error}") from None
    if done.returncode != 0:
        raise Unavailable(f"AppArmor profile {name} cannot be loaded: apparmor_parser: {done.stderr.strip() or done.returncode}")
