"""Reading tars: what honest programs write is understood as they do, what is malformed is refused by name."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.archive.chunks import Chunks
from pier.archive.limits import Limits
from pier.archive.refusal import BadArchive
from pier.archive.tarstream import Entry, TarReader

from . import tars


def chunks(data: bytes, piece: int = 700) -> Chunks:
    view = io.BytesIO(data)
    return Chunks(lambda: view.read(piece))


def read(data: bytes, limits: Limits | None = None, piece: int = 700) -> list[tuple[Entry, bytes]]:
    reader = TarReader(chunks(data, piece), limits or Limits())
    found = []
    while entry := reader.next():
        content = b""
        while part := reader.some(300):
            content += part
        found.append((entry, content))
    return found


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("piece", [1, 511, 513, 100_000])
def test_what_python_writes_is_read(format: int, piece: int) -> None:
    out = io.BytesIO()
    names = ["plain", "folder/" + "n" * 90, "d" * 60 + "/" + "e" * 80]
    if format != tarfile.USTAR_FORMAT:
        names += ["x" * 150, "long/" * 40 + "name", "ä" * 70]
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid, info.gid, info.mtime = number * 300, 0o640 + number, 1000 + number, 7, 1_700_000_000
            tar.addfile(info, io.BytesIO(bytes([number]) * info.size))
    got = read(out.getvalue(), piece=piece)
    assert [entry.name.decode() for entry, _ in got] == names
    for number, (entry, content) in enumerate(got):
        assert content == bytes([number]) * (number * 300) and entry.size == len(content)
        assert (entry.mode, entry.uid, entry.gid, entry.mtime, entry.kind) == (0o640 + number, 1000 + number, 7, 1_700_000_000, "0")
        assert out.getvalue()[entry.offset : entry.offset + entry.size] == content


def test_pax_says_more_than_the_header() -> None:
    records = [(b"path", b"real"), (b"uid", b"70000000"), (b"mtime", b"12.5000000019"), (b"SCHILY.xattr.user.a", b"\0=\n"), (b"size", b"3")]
    ((entry, content),) = read(tars.tar(tars.pax(records), tars.header(b"fake", size=0), tars.padded(b"abc")))
    assert (entry.name, entry.uid, entry.mtime, entry.mtime_ns, content) == (b"real", 70_000_000, 12, 500_000_001, b"abc")
    assert entry.xattrs == {b"user.a": b"\0=\n"}


def test_a_pax_header_counts_for_one_entry_and_a_global_one_for_none() -> None:
    data = tars.tar(tars.pax([(b"path", b"g"), (b"uid", b"9")], b"g"), tars.pax([(b"path", b"one")]), tars.file(b"a"), tars.file(b"b"))
    assert [(entry.name, entry.uid) for entry, _ in read(data)] == [(b"one", 0), (b"b", 0)]


def test_an_empty_pax_value_takes_an_earlier_one_back() -> None:
    assert read(tars.tar(tars.pax([(b"path", b"x"), (b"path", b"")]), tars.file(b"a")))[0][0].name == b"a"


def test_gnu_long_names_and_base256() -> None:
    name, target = b"n" * 300, b"t" * 200
    data = tars.tar(
        tars.gnu_long(name), tars.gnu_long(target, b"K"), tars.header(b"short", b"2", uid=tars.base256(3_000_000, 8), mtime=tars.base256(-5, 12))
    )
    ((entry, _),) = read(data)
    assert (entry.name, entry.link, entry.uid, entry.mtime) == (name, target, 3_000_000, -5)


def test_v7_folders_and_payloads_of_links() -> None:
    data = tars.tar(tars.header(b"d/", b"\0", magic=bytes(8)), tars.header(b"l", b"1", size=4096, link=b"x"), tars.file(b"after", b"1"))
    assert [(entry.name, entry.kind, entry.size) for entry, _ in read(data)] == [(b"d/", "5", 0), (b"l", "1", 0), (b"after", "0", 1)]


@pytest.mark.parametrize(
    "options", [["--format=gnu"], *(["--format=posix", f"--sparse-version={v}"] for v in ("0.0", "0.1", "1.0"))], ids=lambda o: o[-1]
)
@pytest.mark.parametrize("pieces", [1, 9, 60])
def test_sparse_files_of_gnu_tar(tmp_path: Path, options: list[str], pieces: int) -> None:
    expected = bytearray(pieces * 131072 + 5000)
    with open(tmp_path / "holes", "wb") as file:
        for number in range(pieces):
            file.seek(number * 131072 + 65536)
            file.write(b"%04d" % number * 1100)
            expected[number * 131072 + 65536 :][:4400] = b"%04d" % number * 1100
        for number in range(pieces):
            expected[number * 131072 + 65536 : number * 131072 + 65536 + 4400] = b"%04d" % number * 1100
        file.truncate(len(expected))
    data = subprocess.run(["tar", "-C", tmp_path, "-S", *options, "-cf", "-", "holes"], capture_output=True, check=True).stdout
    ((entry, content),) = read(data)
    assert entry.sparse is not None and entry.name == b"holes" and entry.size == len(expected) and len(content) == entry.stored < entry.size
    whole, at = bytearray(entry.size), 0
    for offset, length in entry.sparse:
        whole[offset : offset + length] = content[at : at + length]
        at += length
    assert whole == expected[: entry.size]


def sparse_1_0(text: bytes, stored: bytes, real: int) -> bytes:
    records = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"s"), (b"GNU.sparse.realsize", b"%d" % real)]
    body = tars.padded(text) + stored
    return tars.tar(tars.pax(records), tars.header(b"x", size=len(body)), tars.padded(body))


BAD = {
    "cut in a header": (tars.file(b"a", b"x" * 600)[:300], "ends in the middle of a header"),
    "cut in the content": (tars.file(b"a", b"x" * 600)[:900], "ends in the middle of its content"),
    "cut in the padding": (tars.file(b"a", b"x" * 600)[:1200], "ends in the middle of its content"),
    "no tar": (b"hello world " * 60, "this is no tar archive"),
    "checksum": (tars.file(b"a")[:500] + b"Z" + tars.file(b"a")[501:] + tars.end(), "checksum"),
    "size is text": (tars.tar(tars.header(b"a", size=b"12x4567\0\0\0\0\0")), "size is not a number"),
    "size has a sign": (tars.tar(tars.header(b"a", size=b"-0000000001\0")), "size is not a number"),
    "size has underscores": (tars.tar(tars.header(b"a", size=b"1_000000000\0")), "size is not a number"),
    "size has a nine": (tars.tar(tars.header(b"a", size=b"00000000009\0")), "size is not a number"),
    "size is negative": (tars.tar(tars.header(b"a", size=tars.base256(-1, 12))), "size is negative"),
    "size is huge": (tars.tar(tars.header(b"a", size=tars.base256(1 << 80, 12))), "a size of"),
    "owner is negative": (tars.tar(tars.header(b"a", uid=tars.base256(-2, 8))), "owner is negative"),
    "lone zeros": (tars.file(b"a") + bytes(512) + tars.file(b"b") + tars.end(), "block of zeros"),
    "unknown type": (tars.tar(tars.header(b"a", b"M")), "type 'M' are not known"),
    "dumpdir": (tars.tar(tars.header(b"a", b"D")), "type 'D' are not known"),
    "announced nothing": (tars.pax([(b"path", b"x")]), "before the entry"),
    "long name then end": (tars.gnu_long(b"a") + tars.end(), "block of zeros"),
    "pax length": (tars.tar(tars.header(b"x", b"x", 9), tars.padded(b"99 a=bcd\n")), "length is wrong"),
    "pax without length": (tars.tar(tars.header(b"x", b"x", 9), tars.padded(b"xx a=bcd\n")), "no length"),
    "pax length signed": (tars.tar(tars.header(b"x", b"x", 10), tars.padded(b"+10 a=bcd\n")), "no length"),
    "pax without key": (tars.tar(tars.pax([(b"", b"x")]), tars.file(b"a")), "no keyword"),
    "pax NUL in path": (tars.tar(tars.pax([(b"path", b"a\0b")]), tars.file(b"a")), "NUL"),
    "pax size negative": (tars.tar(tars.pax([(b"size", b"-1")]), tars.file(b"a")), "size is not a number"),
    "pax time": (tars.tar(tars.pax([(b"mtime", b"1e5")]), tars.file(b"a")), "time is not a number"),
    "xattr too large": (tars.tar(tars.pax([(b"SCHILY.xattr.user.a", bytes(70_000))]), tars.file(b"a")), "the limit is 65535"),
    "pax too large": (tars.header(b"x", b"x", (1 << 20) + 1) + bytes(2 << 20), "the limit is 1048576"),
    "long name too large": (tars.header(b"x", b"L", (1 << 20) + 1) + bytes(2 << 20), "the limit is 1048576"),
    "sparse overlap": (sparse_1_0(b"2\n0\n10\n5\n10\n", bytes(20), 100), "out of order"),
    "sparse beyond": (sparse_1_0(b"1\n95\n10\n", bytes(10), 100), "beyond the file's size"),
    "sparse lies": (sparse_1_0(b"1\n0\n10\n", bytes(20), 100), "10 bytes, 20 are stored"),
    "sparse count": (sparse_1_0(b"99999999\n0\n10\n", bytes(20), 100), "sparse map"),
    "sparse text": (sparse_1_0(b"1\nx\n10\n", bytes(10), 100), "not a number"),
    "sparse version": (tars.tar(tars.pax([(b"GNU.sparse.major", b"2"), (b"GNU.sparse.minor", b"0")]), tars.file(b"a")), "sparse format"),
    "sparse without size": (tars.tar(tars.pax([(b"GNU.sparse.map", b"0,1")]), tars.file(b"a", b"x")), "without its size"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_malformed_is_refused_with_its_reason(case: str) -> None:
    data, reason = BAD[case]
    with pytest.raises(BadArchive) as caught:
        read(data)
    assert reason in str(caught.value)


def test_a_refusal_names_the_entry_as_it_may_be_printed() -> None:
    with pytest.raises(BadArchive) as caught:
        read(tars.tar(tars.header(b"bad\n\x1b[31m\xff", b"M")))
    assert caught.value.entry == "bad\\n\\x1b[31m\\xff"


def test_entries_are_counted() -> None:
    data = tars.tar(*[tars.file(b"f%d" % n) for n in range(5)])
    assert len(read(data, Limits(entries=5))) == 5
    with pytest.raises(BadArchive, match="more than 4 entries"):
        read(data, Limits(entries=4))


@given(st.binary(max_size=3000))
def test_noise_is_refused_or_read_but_never_breaks(noise: bytes) -> None:
    try:
        read(noise)
    except BadArchive:
        pass


@given(st.lists(st.tuples(st.integers(0, 2047), st.binary(min_size=1, max_size=3)), min_size=1, max_size=6))
def test_a_flipped_byte_is_refused_or_read_but_never_breaks(changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(tars.tar(tars.pax([(b"path", b"x"), (b"GNU.sparse.map", b"0,1"), (b"GNU.sparse.size", b"4")]), tars.file(b"a", b"x")))
    for at, new in changes:
        data[at : at + len(new)] = new
    for block in range(0, len(data) - 1024, 512):
        if block in (0, 1024):
            data[block : block + 512] = tars.checksummed(bytes(data[block : block + 512]))
    try:
        read(bytes(data))
    except BadArchive:
        pass
