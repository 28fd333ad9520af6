"""The writing half of the log drivers: `write(stream, data)` as it is read, `flush` at the end."""

import time
from json.encoder import encode_basestring
from typing import Protocol

from pier.logs import framing
from pier.logs.files import LogFile, Pread, path_of
from pier.logs.options import parse

PARTIAL_BYTES = 16 << 10
"""Docker's: a longer line is several records."""
_NAMES = {framing.STDOUT: "stdout", framing.STDERR: "stderr"}


class Writer(Protocol):
    """What the pump writes to. Nothing raises; `lost_bytes` and `lost_cause` tell what could not be written."""

    @property
    def lost_bytes(self) -> int: ...
    @property
    def lost_cause(self) -> str: ...

    def write(self, stream: int, data: bytes | memoryview) -> None:
        """Append output of stream 1 (stdout) or 2 (stderr)."""

    def flush(self) -> None:
        """Write what is held back: the process has ended."""

    def close(self) -> None:
        """Flush and close."""


def lost(writer: Writer) -> tuple[int, str] | None:
    """How many bytes could not be written, and why; None where all could."""
    return (writer.lost_bytes, writer.lost_cause) if writer.lost_bytes else None


class NoWriter:
    """The driver `none`."""

    lost_bytes, lost_cause = 0, ""

    def write(self, stream: int, data: bytes | memoryview) -> None:
        return

    def flush(self) -> None:
        return

    def close(self) -> None:
        return


class CountingWriter:
    """Stands for a log that could not be opened: what it should have held is counted."""

    def __init__(self, cause: str) -> None:
        self.lost_bytes, self.lost_cause = 0, cause

    def write(self, stream: int, data: bytes | memoryview) -> None:
        self.lost_bytes += len(data)

    def flush(self) -> None:
        return

    def close(self) -> None:
        return


class LocalWriter:
    """The driver `local`: a frame for each read. A line that has begun in a file ends in it, so that rotation cuts none in two."""

    def __init__(self, file: LogFile) -> None:
        self._file = file
        self._inside_line = {framing.STDOUT: False, framing.STDERR: False}

    @property
    def lost_bytes(self) -> int:
        return self._file.lost_bytes

    @property
    def lost_cause(self) -> str:
        return self._file.lost_cause

    def write(self, stream: int, data: bytes | memoryview) -> None:
        now = time.time_ns()
        if self._file.unnoted_bytes:
            self._note(now)
        if not len(data):
            return
        if self._inside_line[stream] and self._file.is_full_for(len(data) + framing.OVERHEAD):
            end = bytes(data[:PARTIAL_BYTES]).find(b"\n") + 1
            if 0 < end < len(data):
                self._frame(now, stream, data[:end], rotate=False)
                data = data[end:]
        self._frame(now, stream, data)
        self._inside_line[stream] = data[-1] != 10

    def _frame(self, now: int, stream: int, data: bytes | memoryview, rotate: bool = True) -> None:
        length = len(data)
        self._file.write((framing.head(stream, now, length), data, framing.tail(stream, length)), length + framing.OVERHEAD, length, rotate)

    def flush(self) -> None:
        if self._file.unnoted_bytes:
            self._note(time.time_ns())

    def close(self) -> None:
        self.flush()
        self._file.close()

    def _note(self, now: int) -> None:
        unnoted, text = self._file.unnoted_bytes, self._file.take_note()
        frame = framing.encode(framing.NOTE, now, (text or "").encode())
        if not self._file.write((frame,), len(frame), 0):
            self._file.unnoted_bytes = unnoted


class JsonWriter:
    """The driver `json-file`: a line of JSON for each line, and for each 16 KiB of a longer one."""

    def __init__(self, file: LogFile) -> None:
        self._file = file
        self._open_lines = {framing.STDOUT: b"", framing.STDERR: b""}

    @property
    def lost_bytes(self) -> int:
        return self._file.lost_bytes

    @property
    def lost_cause(self) -> str:
        return self._file.lost_cause

    def write(self, stream: int, data: bytes | memoryview) -> None:
        *lines, rest = (self._open_lines[stream] + bytes(data)).split(b"\n")
        records = []
        for line in lines:
            while len(line) >= PARTIAL_BYTES:
                records.append(line[:PARTIAL_BYTES])
                line = line[PARTIAL_BYTES:]
            records.append(line + b"\n")
        while len(rest) >= PARTIAL_BYTES:
            records.append(rest[:PARTIAL_BYTES])
            rest = rest[PARTIAL_BYTES:]
        self._open_lines[stream] = rest
        self._append(stream, records)

    def flush(self) -> None:
        for stream, rest in self._open_lines.items():
            if rest:
                self._open_lines[stream] = b""
                self._append(stream, [rest])
        if self._file.unnoted_bytes:
            self._append(framing.STDERR, [])

    def close(self) -> None:
        self.flush()
        self._file.close()

    def _append(self, stream: int, records: list[bytes]) -> None:
        unnoted, note = self._file.unnoted_bytes, self._file.take_note()
        stamp = rfc3339_nano(time.time_ns())
        if note:
            text = json_line(framing.STDERR, note.encode(), stamp)
            if not self._file.write((text,), len(text), 0):
                self._file.unnoted_bytes = unnoted
        batch: list[bytes] = []
        payload = size = 0
        for record in records:
            text = json_line(stream, record, stamp)
            batch.append(text)
            payload, size = payload + len(record), size + len(text)
            if size >= 256 << 10:
                self._file.write((b"".join(batch),), size, payload)
                batch, payload, size = [], 0, 0
        if batch:
            self._file.write((b"".join(batch),), size, payload)


def json_line(stream: int, data: bytes, stamp: str) -> bytes:
    """One record of Docker's json-file; bytes that are no UTF-8 become U+FFFD, as in Docker."""
    text = encode_basestring(data.decode("utf-8", "replace"))
    if "<" in text or ">" in text or "&" in text:
        text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return f'{{"log":{text},"stream":"{_NAMES[stream]}","time":"{stamp}"}}\n'.encode()


_second: tuple[int, str] = (-1, "")


def rfc3339_nano(time_ns: int) -> str:
    """Go's RFC3339Nano in UTC: no zeros at the end of the fraction, none at all for a whole second."""
    global _second
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    if _second[0] != seconds:
        _second = (seconds, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)))
    return f"{_second[1]}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"


def last_whole_line(pread: Pread, size: int) -> int:
    """The offset behind the last newline of a file of `size` bytes."""
    end = size
    while end > 0:
        start = max(0, end - 65536)
        found = pread(end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def open_writer(driver: str, directory: str, options: dict[str, str]) -> Writer:
    """The writer of a container's log. Raises Invalid (options), OSError (the folder or the file cannot be made)."""
    limits = parse(driver, options)
    path = path_of(driver, directory)
    if path is None:
        return NoWriter()
    if driver == "local":
        return LocalWriter(LogFile(path, limits, framing.last_whole))
    return JsonWriter(LogFile(path, limits, last_whole_line))


def open_or_count(driver: str, directory: str, options: dict[str, str]) -> Writer:
    """The writer of a log; one that only counts where it cannot be made: a disk that is full or broken never stops a container."""
    try:
        return open_writer(driver, directory, options)
    except OSError as error:
        return CountingWriter(str(error))


__all__ = ["CountingWriter", "JsonWriter", "LocalWriter", "NoWriter", "Writer", "open_or_count", "open_writer"]
