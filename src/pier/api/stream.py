"""The frame of a multiplexed stream (application/vnd.docker.multiplexed-stream) and the media types of streams.

A frame is one byte for the stream (0 stdin, 1 stdout, 2 stderr, 3 an error of the system), three zero bytes, the length of
the payload as a big-endian 32-bit number, and the payload. No imports but `struct`: the pump and the CLI use this too.
"""

from struct import Struct

STDIN, STDOUT, STDERR, SYSTEM_ERROR = range(4)
HEADER = Struct(">BxxxI")
HEADER_BYTES = 8
RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"


def frame(stream: int, payload: bytes) -> bytes:
    """One frame. `stream` is STDOUT, STDERR, ..."""
    return HEADER.pack(stream, len(payload)) + payload


class Reader:
    """Takes frames out of bytes that arrive in pieces of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames that are whole now, as (stream, payload). Raises ValueError for what is no frame."""
        self._buffer += data
        frames: list[tuple[int, bytes]] = []
        while len(self._buffer) >= HEADER_BYTES:
            stream, length = HEADER.unpack_from(self._buffer)
            if stream > SYSTEM_ERROR or any(self._buffer[1:4]):
                raise ValueError(f"not a multiplexed stream: a frame begins with {bytes(self._buffer[:4]).hex()}")
            if len(self._buffer) < HEADER_BYTES + length:
                break
            frames.append((stream, bytes(self._buffer[HEADER_BYTES : HEADER_BYTES + length])))
            del self._buffer[: HEADER_BYTES + length]
        return frames

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished frame are held."""
        return len(self._buffer)
