"""How an archive is refused: the entry and the reason, in one error that crosses the worker's channel."""

from pier.errors import Invalid

"".encode("unicode_escape")  # looks the codec up now: in the worker there is no file system to import it from


class BadArchive(Invalid):
    """An archive that is malformed, unsafe or over a limit.

    `entry` is the name in the archive ("" where it is the archive itself), `reason` says what is wrong with it.
    """

    def __init__(self, entry: str, reason: str) -> None:
        self.entry, self.reason = entry, reason
        super().__init__(f"archive entry {entry!r}: {reason}" if entry else f"archive: {reason}")

    def within(self, outer: str) -> "BadArchive":
        """The same refusal, of an archive that is itself the entry `outer` of another."""
        return BadArchive(f"{outer}: {self.entry}" if self.entry else outer, self.reason)


def shown(name: bytes) -> str:
    """A name from an archive as it may be printed: bytes that are not UTF-8, and control characters, escaped; at most 200 characters."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name.decode("utf-8", "backslashreplace"))
    return text if len(text) <= 200 else text[:100] + "..." + text[-97:]
