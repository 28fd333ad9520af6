"""What the filter of containers with a limited volume refuses, by the interpreter of test_seccomp."""

import pytest

from pier.linux import seccomp
from pier.linux.seccomp import ALLOW, ERRNO
from pier.linux.syscall_table import numbers
from pier.runtime import seccomp_counted
from tests.unit.linux.test_seccomp import interpret

EPERM = ERRNO | 1
FSGETXATTR, FSSETXATTR, SETFLAGS, SETFLAGS_32, GETFLAGS, TCGETS = 0x801C581F, 0x401C5820, 0x40086602, 0x40046602, 0x80086601, 0x5401


@pytest.mark.parametrize("architecture", ["x86_64", "i386", "x32", "arm64", "arm"])
@pytest.mark.parametrize(
    ("command", "answer"),
    [
        *((command, EPERM) for command in (FSSETXATTR, SETFLAGS, SETFLAGS_32, FSSETXATTR | 7 << 40)),
        *((command, ALLOW) for command in (FSGETXATTR, GETFLAGS, TCGETS)),
    ],
)
def test_the_commands_that_change_how_files_are_counted(architecture: str, command: int, answer: int) -> None:
    """The kernel reads the lower half of a command only: what is above it hides nothing."""
    assert ask(architecture, "ioctl", (3, command, 0, 0, 0, 0)) == answer
    assert ask(architecture, "ioctl", (command, 0, command, 0, 0, 0)) == ALLOW


@pytest.mark.parametrize("architecture", ["x86_64", "i386", "x32", "arm64", "arm"])
def test_calls(architecture: str) -> None:
    assert ask(architecture, "file_setattr") == EPERM
    assert [ask(architecture, name) for name in ("file_getattr", "read", "openat", "listns", "clone3")] == [ALLOW] * 5


def ask(architecture: str, name: str, args: tuple[int, ...] = (0,) * 6) -> int:
    program = seccomp_counted.program("aarch64" if architecture.startswith("arm") else "x86_64")
    return interpret(program, numbers(architecture)[name], seccomp.AUDIT_ARCH["x86_64" if architecture == "x32" else architecture], args)
