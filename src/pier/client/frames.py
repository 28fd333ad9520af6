"""The multiplexed stream of attach, logs and exec: frames of (stream, length, bytes).

Source: Docker Engine API 1.51, ContainerAttach, "Stream format": one byte stream (0 stdin, 1 stdout, 2 stderr,
3 an error text of the daemon), three zero bytes, four bytes length, big endian.
"""

HEADER_BYTES = 8


class Demultiplexer:
    """Splits the bytes it is fed into (stream, bytes); parts of a frame are handed on as they come, nothing waits for its end."""

    __slots__ = ("_head", "_left", "_stream")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._stream = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The pieces that `data` brought. Raises ValueError for an unknown stream number: this is no multiplexed stream."""
        pieces: list[tuple[int, bytes]] = []
        position = 0
        end = len(data)
        while position < end:
            if self._left:
                piece = data[position : position + self._left]
                position += len(piece)
                self._left -= len(piece)
                pieces.append((self._stream, piece))
                continue
            need = HEADER_BYTES - len(self._head)
            self._head += data[position : position + need]
            position += need
            if len(self._head) == HEADER_BYTES:
                self._stream = self._head[0]
                if self._stream > 3:
                    raise ValueError(f"unrecognized input header: {self._stream}")
                self._left = int.from_bytes(self._head[4:8], "big")
                self._head = b""
        return pieces

    @property
    def whole(self) -> bool:
        """Whether the stream stands between two frames: where it ends elsewhere, something was cut off."""
        return not self._left and not self._head
