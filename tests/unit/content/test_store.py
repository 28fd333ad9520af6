"""The store of blobs: what has a name has its digest's bytes, whatever went wrong on the way."""

import os
from pathlib import Path

import pytest

from pier import trace
from pier.content import ContentStore
from pier.errors import Internal, Invalid, NotFound
from pier.oci import digest as digests


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


def names(content: ContentStore) -> list[str]:
    return sorted(str(path.relative_to(content.root)) for path in content.root.rglob("*") if not path.is_dir())


def test_a_blob_is_written_and_read(content: ContentStore) -> None:
    digest = content.write(b"hello")
    assert digest == digests.of(b"hello") and content.has(digest) and content.size(digest) == 5
    assert content.read(digest) == b"hello"
    assert content.write(b"hello") == digest
    assert list(content.digests()) == [digest]
    assert content.path(digest).stat().st_mode & 0o777 == 0o400
    assert names(content) == [f"blobs/sha256/{digest[7:]}"]


def test_what_is_missing_or_no_digest_is_said(content: ContentStore) -> None:
    digest = digests.of(b"x")
    for call in (content.size, content.open, content.read):
        with pytest.raises(NotFound, match=digest):
            call(digest)
    assert not content.has(digest) and content.delete(digest) == 0
    for bad in ("sha256:../../../etc/passwd", "sha512:" + "0" * 128, "", "x"):
        with pytest.raises(Invalid):
            content.path(bad)


def test_a_blob_that_the_disk_changed_is_not_handed_out(content: ContentStore) -> None:
    digest = content.write(b"hello")
    path = content.path(digest)
    path.chmod(0o600)
    path.write_bytes(b"hellO")
    with pytest.raises(Internal, match="damaged"):
        content.read(digest)


def test_an_ingest_is_resumed_where_it_stopped(content: ContentStore) -> None:
    first = content.ingest("layer-1")
    first.write(b"hel")
    first.close()
    assert content.ingests() == ["layer-1"]
    again = ContentStore(content.root).ingest("layer-1")
    assert again.offset_bytes == 3
    again.write(b"lo")
    again.commit(digests.of(b"hello"), 5)
    assert content.read(digests.of(b"hello")) == b"hello" and content.ingests() == []


@pytest.mark.parametrize(("digest", "size", "why"), [(digests.of(b"other"), -1, "have the digest"), (digests.of(b"hello"), 6, "6 were announced")])
def test_other_bytes_than_promised_are_refused_and_gone(content: ContentStore, digest: str, size: int, why: str) -> None:
    ingest = content.ingest("k")
    ingest.write(b"hello")
    with pytest.raises(Invalid, match=why):
        ingest.commit(digest, size)
    assert names(content) == [] and content.ingests() == []


@pytest.mark.parametrize("key", ["", "../x", "a/b", ".hidden", "x" * 200])
def test_a_key_is_no_path(content: ContentStore, key: str) -> None:
    with pytest.raises(Invalid):
        content.ingest(key)


def test_what_a_worker_left_is_hashed_and_not_believed(content: ContentStore, tmp_path: Path) -> None:
    scratch = content.scratch()
    (scratch / "blobs").mkdir()
    (scratch / "blobs" / "b").write_bytes(b"hello")
    (tmp_path / "secret").write_bytes(b"secret")
    os.symlink(tmp_path / "secret", scratch / "link")
    os.symlink(tmp_path, scratch / "folder")
    os.mkfifo(scratch / "fifo")
    fd = os.open(scratch, os.O_RDONLY)
    try:
        assert content.adopt(fd, "blobs/b", digests.of(b"hello")) is True
        assert content.adopt(fd, "blobs/b", digests.of(b"hello")) is False
        with pytest.raises(Invalid, match="not sha256"):
            content.adopt(fd, "blobs/b", digests.of(b"other"))
        for name in ("link", "folder/secret", "../../../secret"):
            with pytest.raises(OSError):
                content.adopt(fd, name, digests.of(b"secret"))
        with pytest.raises(Invalid, match="regular file"):
            content.adopt(fd, "fifo", digests.of(b"secret"))
    finally:
        os.close(fd)
    content.remove_scratch(scratch)
    content.remove_scratch(scratch)
    assert not scratch.exists() and names(content) == [f"blobs/sha256/{digests.of(b'hello')[7:]}"]


def test_scratch_folders_of_a_dead_daemon_go_resumable_ingests_stay(content: ContentStore) -> None:
    scratch = content.scratch()
    (scratch / "x").write_bytes(b"x")
    ingest = content.ingest("resumable")
    ingest.write(b"abc")
    ingest.close()
    ContentStore(content.root)
    assert not scratch.exists() and content.ingests() == ["resumable"]


def test_what_no_root_reaches_is_collected(content: ContentStore) -> None:
    root, child, loose = content.write(b"root"), content.write(b"child"), content.write(b"loose!")
    assert content.gc([root], lambda digest: [child] if digest == root else []) == (1, 6)
    assert content.has(root) and content.has(child) and not content.has(loose)
    assert content.gc([root], lambda digest: [child, root]) == (0, 0)


@pytest.mark.parametrize("where", ["content.commit", "content.adopt"])
def test_a_fault_leaves_nothing_behind(content: ContentStore, where: str) -> None:
    scratch = content.scratch()
    (scratch / "b").write_bytes(b"hello")
    fd = os.open(scratch, os.O_RDONLY)
    trace.configure(f"{where}:error")
    try:
        with pytest.raises(OSError, match=where):
            content.adopt(fd, "b", digests.of(b"hello"))
    finally:
        trace.configure()
        os.close(fd)
    content.remove_scratch(scratch)
    assert names(content) == []
