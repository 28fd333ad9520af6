"""Finding the detach keys in what a client types. Pure."""


class DetachKeys:
    """Looks for one sequence of bytes, over the borders of reads; what only began like it is passed on when it breaks."""

    __slots__ = ("_matched", "_sequence")

    def __init__(self, sequence: bytes) -> None:
        self._sequence, self._matched = sequence, 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(what to pass on, whether the sequence is complete). What follows a complete sequence is dropped with it."""
        sequence = self._sequence
        if not sequence:
            return data, False
        if not self._matched and sequence[0] not in data:
            return data, False
        out = bytearray()
        for byte in data:
            if byte == sequence[self._matched]:
                self._matched += 1
                if self._matched == len(sequence):
                    self._matched = 0
                    return bytes(out), True
                continue
            held = sequence[: self._matched] + bytes([byte])
            self._matched = 0
            # what broke may itself end with the beginning of the sequence (ctrl-p ctrl-p ctrl-q)
            for length in range(min(len(held), len(sequence) - 1), 0, -1):
                if held.endswith(sequence[:length]):
                    self._matched = length
                    held = held[:-length]
                    break
            out += held
        return bytes(out), False
