"""A layer's tar out of members and their payloads, in pieces: what reads it is the same intake that takes layers in from elsewhere.

The same members give the same bytes: they come sorted, headers carry numbers only, and `Normal` says what is made equal on request.
Payloads are written at full length, as Docker does: other engines cannot put a tar with sparse entries together again. A hole is the
piece `ZEROS` itself, which whoever writes it to a file leaves out (layer.Sink).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pier.archive.chunks import ZEROS, Piece
from pier.archive.tarwriter import END, Member, header, padding

_GATHERED_BYTES = 256 << 10


@dataclass(frozen=True)
class Normal:
    """What is made equal in every member: nothing, unless told.

    latest: seconds since 1970; what was changed later counts as changed then. owner: (user, group) of everything.
    """

    latest: int | None = None
    owner: tuple[int, int] | None = None

    def of(self, member: Member) -> Member:
        """The member as it is written."""
        if self.latest is not None and (member.mtime, member.mtime_ns) > (self.latest, 0):
            member = replace(member, mtime=self.latest, mtime_ns=0)
        if self.owner is not None:
            member = replace(member, uid=self.owner[0], gid=self.owner[1])
        return member


NOTHING = Normal()


def archive(members: Iterable[tuple[Member, Iterable[Piece]]], normal: Normal = NOTHING) -> Iterator[Piece]:
    """The bytes of the tar. A payload that is shorter than its member says is filled up with zeros, a longer one is cut.

    Both happen to files that a running container changes meanwhile, and neither may shift what follows. Raises ValueError for
    what no tar can carry, and what `members` raises.
    """
    gathered = bytearray()
    for member, payload in members:
        gathered += header(normal.of(member))
        for piece in _exactly(payload, member.size):
            if piece is not ZEROS and len(gathered) + len(piece) < _GATHERED_BYTES:
                gathered += piece
                continue
            if gathered:
                yield bytes(gathered)
                gathered.clear()
            yield piece
        gathered += padding(member.size)
        if len(gathered) >= _GATHERED_BYTES:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered + END)


def zeros(count: int) -> Iterator[Piece]:
    """A hole of `count` bytes."""
    for _ in range(count // len(ZEROS)):
        yield ZEROS
    if count % len(ZEROS):
        yield memoryview(ZEROS)[: count % len(ZEROS)]


def _exactly(payload: Iterable[Piece], size: int) -> Iterator[Piece]:
    for piece in payload:
        if len(piece) >= size:
            yield piece if len(piece) == size else memoryview(piece)[:size]
            return
        size -= len(piece)
        yield piece
    yield from zeros(size)
