"""The process between the launcher and an exec's child: it leaves the launcher's descriptors behind before it enters the container.

A child that was born inside with a copy of the launcher's table would show it to the container until its own first steps:
with CAP_SYS_PTRACE a way to the keeper's socket, to host namespaces and to logs (CVE-2016-9962, CVE-2024-21626). One that was
born in the pid namespace alone would show the host's mounts. So: the launcher clones the midwife and is suspended; the
midwife joins the namespaces, closes everything but the child's socket, clones the child and exits. Its own pid namespace
stays the host's: no container sees it. The child's pid comes back over a page that the child itself does not have.
"""

import mmap
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import NoReturn

from pier.linux import namespaces, pidfd, processes
from pier.runtime import forked
from pier.runtime.shape import KINDS

_ALL = namespaces.flags_of(KINDS)
_ANSWER = struct.Struct("ii")  # pid of the child or 0, errno or 0


def deliver(
    inside: int, theirs: socket.socket, child_main: Callable[[int], NoReturn], tasks: Sequence[int] = (), birthplace: int = -1
) -> tuple[int, int]:
    """Make a blank child in all namespaces of the process that the pidfd `inside` names; it has `theirs` and nothing else.

    It is born in the cgroups of CgroupLayout.open_joins, which the midwife joins first.

    Returns its pid and a pidfd. Its parent is the caller's parent, which has to reap a second child, too. Raises OSError.
    """
    page = mmap.mmap(-1, mmap.PAGESIZE)
    try:
        pid, fd = processes.clone3(processes.CLONE_PARENT | processes.CLONE_VFORK, cgroup_fd=birthplace)
        if pid == 0:
            _be_midwife(inside, theirs.fileno(), child_main, page, tasks)
        os.close(fd)
        born, number = _ANSWER.unpack_from(page)
    finally:
        page.close()
    if number or not born:
        raise OSError(number, os.strerror(number) if number else "it ended before the child was born")
    return born, pidfd.pidfd_open(born)


def _be_midwife(inside: int, fd: int, child_main: Callable[[int], NoReturn], page: mmap.mmap, tasks: Sequence[int]) -> NoReturn:
    """In the midwife, and past the clone in the child: nothing may return or raise into the launcher's frames."""
    try:
        page.madvise(mmap.MADV_DONTFORK)
        processes.set_name("pier-blank")
        null = os.open("/dev/null", os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)  # the keeper's log is a file of the host
        try:
            for each in tasks:
                os.write(each, b"0")
            namespaces.setns(inside, _ALL)  # the pid namespace is for children only, pid_namespaces(7)
            fd = forked.keep_only(fd, traced=False)  # $PIER_TRACE is a path of the host, not of a container's root
            pid, _ = processes.clone3(processes.CLONE_PARENT)
        except OSError as error:
            _ANSWER.pack_into(page, 0, 0, error.errno or 5)
            os._exit(1)
        if pid == 0:
            child_main(fd)
        _ANSWER.pack_into(page, 0, pid, 0)
        os._exit(0)
    finally:
        os._exit(1)
