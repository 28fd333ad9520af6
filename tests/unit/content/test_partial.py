"""A blob on its way: nothing that came is lost or fetched again, nothing wrong is kept."""

import hashlib
import os
import random
import struct
import threading
import time
from pathlib import Path

import pytest

from pier.content import ContentStore, Partial
from pier.errors import Invalid
from pier.oci import digest as digests

DATA = random.Random(7).randbytes(100_000)
DIGEST = digests.of(DATA)


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


def fill(partial: Partial, data: bytes = DATA, most: int = 1 << 30, piece: int = 7_001) -> None:
    """Write what is missing, at most `most` bytes of it."""
    while most > 0 and (part := partial.claim()):
        while most > 0 and not part.whole:
            stop = min(part.stop, part.at + piece, part.at + most)
            most -= stop - part.at
            partial.write(part, data[part.at : stop])
        partial.release(part)


@pytest.mark.parametrize("part_bytes", [0, 30_000, 100_000, 1 << 20])
@pytest.mark.parametrize("first", [0, 1, 29_999, 30_000, 30_001, 95_000, 99_999])
def test_it_goes_on_at_the_byte(content: ContentStore, part_bytes: int, first: int) -> None:
    partial = content.partial(DIGEST, len(DATA), part_bytes)
    fill(partial, most=first)
    assert (partial.there_bytes, partial.readable_bytes, partial.resumed_bytes) == (first, first, 0)
    partial.close()
    again = ContentStore(content.root).partial(DIGEST, len(DATA), part_bytes)
    assert again.resumed_bytes == again.readable_bytes == first and not again.whole
    fill(again)
    assert again.whole and again.claim() is None
    again.verify()
    again.sync()
    assert content.publish(again) and content.read(DIGEST) == DATA
    assert content.path(DIGEST).stat().st_mode & 0o777 == 0o400
    again.discard()
    assert content.ingests() == [] and content.read(DIGEST) == DATA


def test_parts_that_come_in_any_order_are_all_kept(content: ContentStore) -> None:
    partial = content.partial(DIGEST, len(DATA), 10_000)
    parts = [partial.claim() for _ in range(10)]
    assert partial.claim() is None
    for number in (3, 1, 9, 0):
        part = parts[number]
        assert part is not None
        partial.write(part, DATA[part.start : part.start + 6_000])
    assert (partial.readable_bytes, partial.there_bytes) == (6_000, 24_000)
    partial.close()
    again = content.partial(DIGEST, len(DATA), 25_000)  # another size of parts is configured now
    assert again.resumed_bytes == 24_000 and again.readable_bytes == 6_000
    first = again.claim()
    assert first is not None and (first.start, first.at, first.stop) == (0, 6_000, 10_000)
    again.release(first)
    fill(again)
    again.verify()
    again.close()


def test_growth_is_told_in_order_and_without_gaps(content: ContentStore) -> None:
    partial, told = content.partial(DIGEST, len(DATA), 40_000), list[int]()
    partial.on_growth = told.append
    one, two = partial.claim(), partial.claim()
    assert one and two
    partial.write(two, DATA[40_000:80_000])
    assert told == []
    partial.write(one, DATA[:10_000])
    partial.write(one, DATA[10_000:40_000])
    assert told == [10_000, 80_000]
    fd = partial.reader()
    assert os.pread(fd, 80_000, 0) == DATA[:80_000]
    os.close(fd)
    partial.discard()


def test_threads_fill_it_together(content: ContentStore) -> None:
    data = random.Random(3).randbytes(3_000_000)
    partial = content.partial(digests.of(data), len(data), 100_000)
    threads = [threading.Thread(target=fill, args=(partial, data)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    partial.verify()
    partial.discard()


def test_other_bytes_are_found_and_fetched_again(content: ContentStore) -> None:
    partial = content.partial(DIGEST, len(DATA), 30_000)
    fill(partial, bytes(len(DATA)))
    with pytest.raises(Invalid, match="have the digest " + digests.of(bytes(len(DATA)))):
        partial.verify()
    partial.restart()
    assert partial.there_bytes == 0 and not partial.whole
    fill(partial)
    partial.verify()
    partial.discard()
    assert content.ingests() == []


def test_a_file_that_was_cut_short_is_found(content: ContentStore) -> None:
    partial = content.partial(DIGEST, len(DATA), 30_000)
    fill(partial, most=90_000)
    os.truncate(content.root / "ingests" / f"blob-{DIGEST[7:]}" / "data", 50_000)
    partial.close()
    assert content.partial(DIGEST, len(DATA)).there_bytes == 0  # the record names bytes that are not there


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("parts", b""), ("parts", b"x"), ("parts", struct.pack("<3Q", 0, 1, 1)), ("parts", struct.pack("<3Q", 50_000, 1, 60_000)),
        ("parts", struct.pack("<2Q", 50_000, 1)), ("parts", struct.pack("<3Q", 50_000, 10, 50_000)), ("data", bytes(100_001)),
    ],
)  # fmt: skip
def test_what_cannot_be_gone_on_with_is_thrown_away(content: ContentStore, name: str, what: bytes) -> None:
    partial = content.partial(DIGEST, len(DATA), 50_000 if name == "parts" else 0)
    fill(partial, most=20_000)
    partial.close()
    (content.root / "ingests" / f"blob-{DIGEST[7:]}" / name).write_bytes(what)
    again = content.partial(DIGEST, len(DATA), 50_000)
    assert again.there_bytes == again.readable_bytes == 0
    fill(again)
    again.verify()
    again.close()


def test_an_empty_blob_is_whole(content: ContentStore) -> None:
    partial = content.partial("sha256:" + hashlib.sha256().hexdigest(), 0, 10)
    assert partial.whole and partial.claim() is None
    partial.verify()
    content.publish(partial)
    partial.discard()


def test_what_was_published_is_never_written_to(content: ContentStore) -> None:
    partial = content.partial(DIGEST, len(DATA))
    fill(partial)
    partial.verify()
    content.publish(partial)
    partial.close()  # as a kill would leave it
    again = content.partial(DIGEST, len(DATA))
    assert again.there_bytes == 0
    again.restart()
    assert content.read(DIGEST) == DATA
    again.discard()


def test_a_part_takes_no_more_than_it_misses(content: ContentStore) -> None:
    partial = content.partial(DIGEST, len(DATA), 30_000)
    part = partial.claim()
    assert part
    with pytest.raises(ValueError, match="do not fit"):
        partial.write(part, bytes(30_001))
    partial.discard()


def test_what_is_old_or_has_arrived_expires(content: ContentStore) -> None:
    old, used, fresh, done = (digests.of(name) for name in (b"old", b"used", b"fresh", b"done"))
    for digest in (old, used, fresh):
        partial = content.partial(digest, 5)
        fill(partial, b"12345", most=4)
        partial.close()
    partial = content.partial(done, 4)
    fill(partial, b"done")
    content.publish(partial)
    partial.close()
    for digest in (old, used):
        os.utime(content.root / "ingests" / f"blob-{digest[7:]}" / "data", (time.time() - 1000,) * 2)
    (content.root / "ingests" / "blob-empty").mkdir()
    folders, size = content.expire(500, {used})
    assert (len(folders), size) == (2, 4096) and content.has(done)
    assert content.ingests() == sorted(["blob-empty", f"blob-{used[7:]}", f"blob-{fresh[7:]}"])
    more, size = content.expire(0)
    assert (len(more), size) == (3, 8192) and content.ingests() == []
    for folder in folders + more:
        content.remove_scratch(folder)
    assert list((content.root / "ingests").iterdir()) == []
