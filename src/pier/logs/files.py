"""The files of a container's log and their rotation.

    local       <directory>/container.log            framed (logs.framing)
    json-file   <directory>/<its name>-json.log      Docker's lines; <its name> is the container's ID
    <file>.1 ... <file>.N, or <file>.1.gz ...        older ones, the higher the older

Invariant: a record is in a file whole or not at all, but for a crash, whose torn end is cut at the next opening. A full disk
stops nothing: what could not be written is counted, and noted by the next record that fits.
"""

import os
import select
import signal
import zlib
from collections.abc import Callable, Sequence

from pier.logs.options import Limits

_INLINE_BYTES = 256 << 10
_OLD_SUFFIXES = ("", ".gz")

Pread = Callable[[int, int], bytes]
"""(length, offset) -> bytes, as os.pread on some descriptor."""


def path_of(driver: str, directory: str) -> str | None:
    """The log's newest file; None for a driver that has none."""
    if driver == "local":
        return os.path.join(directory, "container.log")
    if driver == "json-file":
        return os.path.join(directory, os.path.basename(directory.rstrip("/")) + "-json.log")
    return None


def older(path: str) -> list[str]:
    """The rotated files of a log that are there, oldest first."""
    found: list[str] = []
    number = 1
    while True:
        present = [name for suffix in _OLD_SUFFIXES if os.path.exists(name := f"{path}.{number}{suffix}")]
        if not present:
            return found[::-1]
        found.append(present[0])
        number += 1


class LogFile:
    """The newest file, open for appending. `write` never raises: look at `lost_bytes`."""

    def __init__(self, path: str, limits: Limits, whole: Callable[[Pread, int], int]) -> None:
        """Open or make the file and cut a torn end; `whole(pread, size)` is the offset behind its last whole record. Raises OSError."""
        self.path, self.limits = path, limits
        self.lost_bytes, self.lost_cause = 0, ""
        self.unnoted_bytes = 0
        self._compressor = -1  # a pidfd
        os.makedirs(os.path.dirname(path), mode=0o710, exist_ok=True)
        self._fd = self._open()
        size = os.fstat(self._fd).st_size
        self._size = whole(lambda length, offset: os.pread(self._fd, length, offset), size)
        if self._size < size:
            os.ftruncate(self._fd, self._size)

    def is_full_for(self, length: int) -> bool:
        """Whether a record of `length` bytes goes into a new file."""
        return self.limits.max_bytes > 0 and self._size > 0 and self._size + length > self.limits.max_bytes

    def write(self, buffers: Sequence[bytes | memoryview], length: int, payload_bytes: int, rotate: bool = True) -> bool:
        """Append one record of `length` bytes, which carries `payload_bytes` of output; False where the disk did not take it.

        Without `rotate` it goes into the file that is there, however full.
        """
        if rotate and self.is_full_for(length):
            self._rotate()
        try:
            written = os.writev(self._fd, buffers)
            if written == length:
                self._size += length
                return True
            os.ftruncate(self._fd, self._size)
            cause = "No space left on device"
        except OSError as error:
            cause = error.strerror or str(error)
        self.lost_bytes += payload_bytes
        self.unnoted_bytes += payload_bytes
        self.lost_cause = cause
        return False

    def take_note(self) -> str | None:
        """The text that says what was lost since the last note, None where nothing was."""
        if not self.unnoted_bytes:
            return None
        text = f"pier: {self.unnoted_bytes} bytes of output were lost here: {self.lost_cause}\n"
        self.unnoted_bytes = 0
        return text

    def close(self) -> None:
        self._forget_compressor()  # it finishes by itself; nobody waits for it
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _forget_compressor(self) -> None:
        if self._compressor >= 0:
            os.close(self._compressor)
            self._compressor = -1

    def _open(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)

    def _rotate(self) -> None:
        """Begin a new file. While the last one is being compressed it is put off, up to twice the size."""
        if self._compressor >= 0:
            poll = select.poll()
            poll.register(self._compressor, select.POLLIN)
            running = not poll.poll(0)
            if running and self._size < 2 * self.limits.max_bytes:
                return
            if running:  # slower than what comes in: the file stays as it is
                signal.pidfd_send_signal(self._compressor, signal.SIGKILL)
            self._forget_compressor()
        try:
            self._shift()
            fd = self._open()
        except OSError:
            return  # a full or broken disk: the old file goes on growing, which loses nothing
        os.close(self._fd)
        self._fd, self._size = fd, 0

    def _shift(self) -> None:
        if self.limits.max_files == 1:
            os.unlink(self.path)
            return
        for number in range(self.limits.max_files - 1, 0, -1):
            for suffix in _OLD_SUFFIXES:
                name = f"{self.path}.{number}{suffix}"
                if number == self.limits.max_files - 1:
                    _unlink(name)
                elif os.path.exists(name):
                    os.rename(name, f"{self.path}.{number + 1}{suffix}")
        os.rename(self.path, f"{self.path}.1")
        if self.limits.compress:
            self._compressor = _compress_beside(f"{self.path}.1", self._size)


def _compress_beside(path: str, size: int) -> int:
    """Compress a rotated file, a big one in a process of its own, whose pidfd is returned (else, and where it is done, -1).

    The caller ignores SIGCHLD, as the pump does, so that nobody has to reap it.
    """
    if size <= _INLINE_BYTES:
        compress(path)
        return -1
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.closerange(3, max(65536, os.sysconf("SC_OPEN_MAX")))
            os.nice(10)
            compress(path)
            code = 0
        finally:
            os._exit(code)
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return -1  # done already


def compress(path: str) -> None:
    """Replace a file by `<path>.gz`: the reader sees the one or the other, whole. Raises OSError."""
    part = f"{path}.part"
    engine = zlib.compressobj(1, wbits=31)
    try:
        with open(path, "rb", buffering=0) as source, open(part, "wb", buffering=0) as target:
            os.fchmod(target.fileno(), 0o640)
            while block := source.read(1 << 20):
                _write_all(target.fileno(), engine.compress(block))
            _write_all(target.fileno(), engine.flush())
            changed_ns = os.fstat(source.fileno()).st_mtime_ns
            os.utime(target.fileno(), ns=(changed_ns, changed_ns))  # by it a reader finds the next newer file
        os.rename(part, f"{path}.gz")
        os.unlink(path)
    except OSError:
        _unlink(part)
        raise


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
