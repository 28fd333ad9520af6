"""Tars written here are what Python's tarfile, GNU tar and Pier's own reader take them for."""

import io
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.archive import tarwriter
from pier.archive.chunks import Chunks
from pier.archive.tarnumbers import byte_sum
from pier.archive.tarstream import TarReader
from pier.archive.tarwriter import END, FILE, FOLDER, HARD_LINK, LINK, Member, header, padding

NAMES = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name)


def written(*members: tuple[Member, bytes]) -> bytes:
    return b"".join(header(member) + data + padding(len(data)) for member, data in members) + END


def read(data: bytes) -> list[Member]:
    pieces = iter([data])
    reader = TarReader(Chunks(lambda: next(pieces, b"")))
    found = []
    while entry := reader.next():
        found.append(
            Member(
                entry.name,
                entry.size,
                entry.kind,
                entry.mode,
                entry.uid,
                entry.gid,
                entry.mtime,
                entry.mtime_ns,
                entry.link,
                entry.major,
                entry.minor,
                entry.xattrs or {},
            )
        )
    return found


LONG = b"a" * 90 + b"/" + b"b" * 90
MEMBERS = [
    Member(b"f", 5, mtime=1_600_000_000, mode=0o4755, uid=1000, gid=100),
    Member(b"d/", kind=FOLDER, mode=0o1777),
    Member(LONG, 5),
    Member(b"x" * 101, 5),
    Member(b"y" * 80 + b"/" + b"z" * 200, 5),
    Member("größe".encode(), 5),
    Member(b"\xff\xfe", 5),
    Member(b"l", kind=LINK, link=b"../" * 60, mode=0o777),
    Member(b"h", kind=HARD_LINK, link=b"f"),
    Member(b"c", kind=tarwriter.CHAR, major=8, minor=1_000_000),
    Member(b"p", kind=tarwriter.FIFO),
    Member(b"owner", 5, uid=0o7777777, gid=0o10000000),
    Member(b"large", 5, uid=4_294_967_294, gid=3_000_000_000),
    Member(b"old", 5, mtime=-5),
    Member(b"older", 5, mtime=-5, mtime_ns=250_000_000),
    Member(b"nearly", 5, mtime=-1, mtime_ns=999_999_999),
    Member(b"late", 5, mtime=9_999_999_999, mtime_ns=123_456_789),
    Member(b"tenth", 5, mtime=10, mtime_ns=100_000_000),
    Member(b"attributes", 5, xattrs={b"user.z": b"1\n=\0", b"security.capability": bytes(20)}),
]


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: repr(member.name[:20]))
def test_what_is_written_is_read_again(member: Member) -> None:
    data = written((member, b"hello"[: member.size]))
    assert read(data) == [member] and len(data) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(data), errorlevel=2) as tar:
        entry = tar.getmembers()[0]
        assert entry.name.rstrip("/") == member.name.decode("utf-8", "surrogateescape").rstrip("/")
        assert (entry.mode, entry.uid, entry.gid, entry.size) == (member.mode, member.uid, member.gid, member.size)
        assert entry.type.decode() == member.kind and entry.linkname == member.link.decode()
        if member.kind == FILE:
            file = tar.extractfile(entry)
            assert file and file.read() == b"hello"


def test_gnu_tar_lists_all_of_it() -> None:
    data = written(*((member, b"hello"[: member.size]) for member in MEMBERS))
    listed = subprocess.run(["tar", "-tf", "-", "--quoting-style=literal"], input=data, capture_output=True, check=True)
    assert listed.stderr == b"" and listed.stdout.split(b"\n")[:-1] == [member.name for member in MEMBERS]


def test_a_size_beyond_eight_gibibytes_stands_in_a_pax_header() -> None:
    blocks = header(Member(b"f", 10 << 30))
    assert b" size=10737418240\n" in blocks and len(blocks) == 3 * 512
    assert len(header(Member(b"f", (8 << 30) - 1))) == 512
    pieces = iter([blocks])
    entry = TarReader(Chunks(lambda: next(pieces, b""))).next()
    assert entry and entry.size == 10 << 30


@given(NAMES, NAMES, st.integers(-(2**40), 2**40), st.integers(0, 999_999_999), st.dictionaries(NAMES, st.binary(max_size=2000), max_size=3))
def test_any_name_time_and_attribute_is_read_again(name: bytes, link: bytes, seconds: int, nanoseconds: int, xattrs: dict[bytes, bytes]) -> None:
    clean = {key.replace(b"=", b"-"): value for key, value in xattrs.items() if value}
    member = Member(name, 0, LINK, 0o777, 1, 2, seconds, nanoseconds, link, xattrs=clean)
    assert read(written((member, b""))) == [member]


def test_what_no_tar_can_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        header(Member(b"a\0b"))
    with pytest.raises(ValueError, match="device"):
        header(Member(b"a", kind=tarwriter.CHAR, minor=1 << 30))


def test_the_sum_of_a_header_is_its_bytes() -> None:
    odd = header(Member(b"\xe9" * 100, mode=0o7777))[-512:]
    for block in (bytes(512), b"\xff" * 512, b"\xff" * 256 + bytes(256), b"\xff" * 257 + bytes(255), odd):
        assert byte_sum(block) == sum(block)
