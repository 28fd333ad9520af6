"""The filter of containers that have a volume with a limit: what takes files out of the count is refused, whatever their own profile says.

Files are counted by the project number and the flag that they inherit from the volume's folder, and their owner may change both:
FS_IOC_FSSETXATTR (`chattr -p`), FS_IOC_SETFLAGS (`chattr -P`, but also `+C` and `+i`: a filter sees the command, not what it points to) and
file_setattr(2), Linux 6.17.
A filter of its own, besides the profile's: the kernel takes the strictest answer of all filters, so that no rule of a profile can undo it.
"""

from pier.linux import seccomp

_COMMANDS = (0x401C5820, 0x40086602, 0x40046602)  # FS_IOC_FSSETXATTR, FS_IOC_SETFLAGS, the same of 32-bit programs (linux/fs.h)
_WORD = 0xFFFFFFFF  # the kernel reads a command's lower half: what is above it must not hide it
_REFUSED = seccomp.ERRNO | 1  # EPERM
_ARCHITECTURES = {"x86_64": ("x86_64", "i386", "x32"), "aarch64": ("arm64", "arm")}


def program(machine: str) -> bytes:
    """The compiled filter; everything else is allowed. machine: as uname says. It is to be loaded with FLAG_SPEC_ALLOW. Pure."""
    rules = [seccomp.Rule(("ioctl",), _REFUSED, (seccomp.Condition(1, "MASKED_EQ", _WORD, command),)) for command in _COMMANDS]
    rules.append(seccomp.Rule(("file_setattr",), _REFUSED))
    return seccomp.compile_filter(seccomp.Filter(seccomp.ALLOW, _ARCHITECTURES[machine], tuple(rules)))
