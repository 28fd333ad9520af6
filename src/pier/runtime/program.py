"""Finding the program of a command, and saying why one does not start; in the child, as the user, inside the root.

Texts and codes are those that Docker's users know: 127 for what is not there, 126 for what cannot be executed.
"""

import errno
import os
import stat

from pier.runtime.child_state import StepFailed

# e_machine of an ELF header (elf.h) -> the name that people use
_MACHINES = {3: "i386", 8: "MIPS", 20: "PowerPC", 21: "ppc64le", 22: "s390x", 40: "ARM", 62: "x86-64", 183: "arm64", 243: "RISC-V", 258: "LoongArch"}
_OWN = {"x86_64": "x86-64", "aarch64": "arm64"}


def find(name: str, search: str) -> str:
    """The path that execve gets: `name` itself where it has a slash, else the first that can be executed in `search` (a PATH).

    Raises StepFailed with Go's texts, which clients match on.
    """
    if "/" in name:
        _check(name, name)
        return name
    refused: StepFailed | None = None
    for folder in search.split(":"):
        if not folder.startswith("/"):
            continue  # a relative or empty part would run what lies in the working folder
        path = f"{folder}/{name}"
        try:
            _check(name, path)
            return path
        except StepFailed as error:
            if error.exit_code == 126 and error.errno == errno.EACCES:
                refused = refused or error
    if refused is not None:
        raise refused
    raise StepFailed(f'exec: "{name}": executable file not found in $PATH', exit_code=127, path=name)


def _check(name: str, path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        code = 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126
        raise StepFailed(f'exec: "{name}": stat {path}: {_lower(error)}', error, code, path) from None
    if stat.S_ISDIR(mode):
        raise StepFailed(f'exec: "{name}": is a directory', OSError(errno.EISDIR, ""), 126, path)
    if not os.access(path, os.X_OK, effective_ids=True):
        raise StepFailed(f'exec: "{name}": permission denied', OSError(errno.EACCES, ""), 126, path)


def explain(path: str, error: OSError) -> StepFailed:
    """Why execve refused the file, with what the file itself tells."""
    text = f"exec {path}: {_lower(error)}"
    hint = ""
    if error.errno == errno.ENOEXEC:
        hint = _format_hint(_head(path))
    elif error.errno == errno.ENOENT and os.path.exists(path):
        interpreter = _interpreter(_head(path))
        hint = f"its interpreter {interpreter} does not exist" if interpreter else ""
    elif error.errno == errno.EACCES:
        interpreter = _interpreter(_head(path))
        hint = f"its interpreter {interpreter} cannot be executed" if interpreter else "it is not executable, or lies on a mount with noexec"
    code = 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126
    return StepFailed(f"{text}: {hint}" if hint else text, error, code, path)


def _lower(error: OSError) -> str:
    """The errno's text as Go prints it."""
    return (error.strerror or "").lower()


def _head(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 4096)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _format_hint(head: bytes) -> str:
    if not head:
        return "the file is empty"
    if head.startswith(b"\x7fELF") and len(head) >= 20:
        order = "little" if head[5] == 1 else "big"
        number = int.from_bytes(head[18:20], "little" if order == "little" else "big")
        machine, own = _MACHINES.get(number, f"machine {number}"), os.uname().machine
        if machine != _OWN.get(own, own):
            return f"it is made for {machine}, this host is {_OWN.get(own, own)}: the image's platform does not match"
        return "the ELF file is damaged or of a kind that this kernel does not run"
    if head.startswith(b"#!"):
        return "its first line names no interpreter"
    return "it is neither an ELF program nor a script that begins with #!"


def _interpreter(head: bytes) -> str:
    """The program that runs the file: from a script's first line, or from an ELF's PT_INTERP; "" where there is none."""
    if head.startswith(b"#!"):
        words = head[2:256].split(b"\n")[0].split()
        return f"{words[0].decode(errors='replace')} (named in its first line)" if words else ""
    if not head.startswith(b"\x7fELF") or len(head) < 64:
        return ""
    order = "little" if head[5] == 1 else "big"
    wide = head[4] == 2
    table, entry_bytes, count = (
        (_int(head, 32, 8, order), _int(head, 54, 2, order), _int(head, 56, 2, order))
        if wide
        else (_int(head, 28, 4, order), _int(head, 42, 2, order), _int(head, 44, 2, order))
    )
    for at in range(table, min(table + entry_bytes * count, len(head) - entry_bytes + 1), max(entry_bytes, 1)):
        if _int(head, at, 4, order) == 3:  # PT_INTERP
            offset = _int(head, at + 8, 8, order) if wide else _int(head, at + 4, 4, order)
            return head[offset : offset + 255].split(b"\0")[0].decode(errors="replace")
    return ""


def _int(data: bytes, at: int, size: int, order: str) -> int:
    return int.from_bytes(data[at : at + size], "little" if order == "little" else "big")
