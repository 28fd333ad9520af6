"""Loop devices, loop(4): a file as a block device, for file systems that cannot be mounted from the file itself.

LOOP_CONFIGURE with a block size of 512 (Linux 5.8, needed from 5.15 on for EROFS with such blocks). The device is freed by the kernel when
the last that has it open is gone, a mount included: nothing is left when this process dies.
"""

import errno
import fcntl
import os
import struct

_CTL_GET_FREE, _CONFIGURE = 0x4C82, 0x4C0A
_READ_ONLY, _AUTOCLEAR, _DIRECT_IO = 1, 4, 16
# struct loop_config: descriptor, block size, struct loop_info64 (of which only the flags and a name for readers of losetup are set), reserved
_CONFIG = struct.Struct("<II 5Q 4I 64s 64s 32s 2Q 64s")
_TRIES = 64


def attach(file_fd: int, name: str, block_size: int = 512) -> tuple[int, str]:
    """(descriptor, path) of a free loop device that shows the file, read-only; the caller closes the descriptor once it is mounted.

    name: at most 63 bytes, what losetup shows. Raises OSError (ENOENT, ENODEV: no loop devices here; EINVAL: a kernel before 5.8).
    """
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):
            path = f"/dev/loop{fcntl.ioctl(control, _CTL_GET_FREE)}"
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            flags = _READ_ONLY | _AUTOCLEAR | _DIRECT_IO
            config = _CONFIG.pack(file_fd, block_size, *(0,) * 5, 0, 0, 0, flags, name.encode()[:63], b"", b"", 0, 0, b"")
            try:
                fcntl.ioctl(fd, _CONFIGURE, config)
                return fd, path
            except OSError as error:
                os.close(fd)
                if error.errno != errno.EBUSY:  # somebody else was faster: there is another free one
                    error.filename = path
                    raise
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "every free loop device is taken by somebody else at once", "/dev/loop-control")
