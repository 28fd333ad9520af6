"""A layer's tar out of members: lengths that hold whatever the payloads do, and what is made equal on request."""

import io
import tarfile
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.archive.chunks import ZEROS, Piece
from pier.archive.layerwriter import Normal, archive, zeros
from pier.archive.tarwriter import FOLDER, Member


def written(*members: tuple[Member, Iterable[Piece]], normal: Normal | None = None) -> bytes:
    return b"".join(bytes(piece) for piece in archive(members, normal or Normal()))


def read(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {entry.name: (tar.extractfile(entry) or io.BytesIO()).read() if entry.isreg() else b"" for entry in tar}


@pytest.mark.parametrize(
    ("size", "pieces", "content"),
    [
        (5, [b"12345"], b"12345"),
        (5, [b"12", b"", b"345"], b"12345"),
        (5, [b"12"], b"12\0\0\0"),
        (5, [], b"\0" * 5),
        (5, [b"123456789"], b"12345"),
        (5, [b"123", b"456789", b"never"], b"12345"),
        (0, [], b""),
        (0, [b"grown"], b""),
    ],
)
def test_a_payload_has_the_size_that_its_header_says(size: int, pieces: list[bytes], content: bytes) -> None:
    data = written((Member(b"a", size), pieces), (Member(b"after", 1), [b"x"]))
    assert read(data) == {"a": content, "after": b"x"} and len(data) % 512 == 0


@given(st.integers(0, 3 * len(ZEROS)))
def test_holes_have_their_length(count: int) -> None:
    assert sum(map(len, zeros(count))) == count


def test_a_hole_is_the_piece_that_says_so() -> None:
    size = 2 * len(ZEROS) + 700
    pieces = list(archive([(Member(b"hole", size), zeros(size))]))
    assert sum(piece is ZEROS for piece in pieces) == 2 and read(b"".join(map(bytes, pieces)))["hole"] == bytes(size)


def test_large_payloads_are_not_copied_small_ones_are_gathered() -> None:
    large = bytes(range(256)) * 2048
    pieces = list(archive([(Member(b"%d" % n, 10), [b"0123456789"]) for n in range(100)] + [(Member(b"l", len(large)), [large])]))
    assert any(piece is large for piece in pieces) and len(pieces) == 3


def test_what_is_made_equal_is_so_in_every_member() -> None:
    members = [
        (Member(b"old", mtime=5, mtime_ns=7, uid=1, gid=2), ()),
        (Member(b"new/", kind=FOLDER, mtime=50, mtime_ns=7, uid=3), ()),
        (Member(b"exact", mtime=40, mtime_ns=1), ()),
    ]
    with tarfile.open(fileobj=io.BytesIO(written(*members, normal=Normal(latest=40, owner=(8, 9))))) as tar:
        assert [(entry.mtime, entry.uid, entry.gid) for entry in tar] == [(5.000000007, 8, 9), (40, 8, 9), (40, 8, 9)]


def test_the_same_members_give_the_same_bytes_and_an_empty_layer_is_dockers() -> None:
    import hashlib

    from pier.images.derive import EMPTY_TAR

    assert "sha256:" + hashlib.sha256(written()).hexdigest() == EMPTY_TAR
    member = Member(b"x" * 300, 3, mtime_ns=1, xattrs={b"user.b": b"1", b"user.a": b"2"})
    other = Member(b"x" * 300, 3, mtime_ns=1, xattrs={b"user.a": b"2", b"user.b": b"1"})
    assert written((member, [b"abc"])) == written((other, [b"a", b"bc"]))
