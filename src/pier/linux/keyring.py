"""The user's keyring (user-keyring(7)): secrets that the kernel keeps for every process of this user until the machine ends (before 5.3:
until the user's last process does).

A key here is of type "user", found by its description. Whoever has the user's UID in this user namespace may read it; the default
seccomp profiles of containers forbid these system calls.
"""

import ctypes
import errno

from pier.linux.syscalls import call

_USER_KEYRING = -4  # KEY_SPEC_USER_KEYRING
_UNLINK, _SEARCH, _READ, _SETPERM = 9, 10, 11, 5  # KEYCTL_*, linux/keyctl.h
# Possessor and user: view, read, search, and for the owner to change and remove it. A process whose session keyring has no link to the
# user's keyring does not possess its keys, so that the user's own bits count (keyctl_setperm(3)).
_PERMISSIONS = 0x3F3F0000
_KIND = b"user"
MAX_BYTES = 32767


def read(description: str) -> bytes | None:
    """The key of this description, None where there is none (it was never there, was revoked, has expired).

    Raises OSError: ENOSYS on a kernel without keyrings, EPERM where a filter forbids them, EACCES for a key that the user may not read.
    """
    serial = _find(description)
    if serial is None:
        return None
    buffer = ctypes.create_string_buffer(MAX_BYTES)
    length = call("keyctl", _READ, serial, buffer, MAX_BYTES)
    return buffer.raw[:length]


def write(description: str, payload: bytes) -> None:
    """Keep `payload` (1 to 32767 bytes) under this description, in place of what was there. Raises OSError (EDQUOT: the user's quota is used up)."""
    serial = call("add_key", _KIND, description.encode(), payload, len(payload), _USER_KEYRING)
    call("keyctl", _SETPERM, serial, _PERMISSIONS)


def remove(description: str) -> None:
    """Let go of the key of this description; nothing happens where there is none. Raises OSError."""
    serial = _find(description)
    if serial is not None:
        call("keyctl", _UNLINK, serial, _USER_KEYRING)


def _find(description: str) -> int | None:
    try:
        return call("keyctl", _SEARCH, _USER_KEYRING, _KIND, description.encode(), 0)
    except OSError as error:
        if error.errno in (errno.ENOKEY, errno.EKEYEXPIRED, errno.EKEYREVOKED):
            return None
        raise
