"""What the compressor makes: the same bytes always, read by every reader, and the tar again."""

import gzip
import io
import os
import shutil
import subprocess
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest

from pier.archive import compress, compression
from pier.archive.chunks import Chunks
from pier.oci import digest as digests

ZSTD, GZIP = compress.Zstd, compress.Gzip
BLOCK = GZIP.block_bytes


def data_of(size: int) -> bytes:
    """Bytes that compress to about a half and never repeat over a block."""
    text = b"".join(b"%x\n" % (number * 2654435761 & 0xFFFFFFFF) for number in range(min(size, 3 << 20) // 8 + 1))
    return (text * (size // len(text) + 1))[:size]


SIZES = [0, 1, 1024, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5, 9 * BLOCK]


def packed(tmp_path: Path, data: bytes, form: compress.Form, threads: int) -> tuple[bytes, compress.Compressed]:
    (tmp_path / "in").write_bytes(data)
    with open(tmp_path / "in", "rb") as source, open(tmp_path / "out", "wb") as target:
        made = compress.compress(source.fileno(), target.fileno(), form, threads)
    return (tmp_path / "out").read_bytes(), made


@pytest.mark.parametrize("form", [GZIP(), GZIP(0), GZIP(3), ZSTD(), ZSTD(1)], ids=["gzip", "gzip 0", "gzip 3", "zstd", "zstd 1"])
@pytest.mark.parametrize("size", SIZES)
def test_the_same_bytes_with_any_number_of_threads_and_the_tar_again(tmp_path: Path, form: compress.Form, size: int) -> None:
    data = data_of(size)
    out, made = packed(tmp_path, data, form, 1)
    assert made == compress.Compressed(digests.of(data), size, len(out))
    assert all(packed(tmp_path, data, form, threads) == (out, made) for threads in (2, 5))
    assert compress.whole(data, form) == out
    pieces = iter([out])
    name, pull = compression.expand(Chunks(lambda: next(pieces, b"")))
    expanded = b""
    while piece := pull():
        expanded += piece
    assert expanded == data and name == ("zstd" if isinstance(form, ZSTD) else "gzip")


@pytest.mark.parametrize("size", SIZES)
def test_other_readers_of_gzip(tmp_path: Path, size: int) -> None:
    data = data_of(size)
    out, _ = packed(tmp_path, data, GZIP(), 2)
    assert gzip.decompress(out) == data
    one = zlib.decompressobj(31)  # one member: for readers that stop after the first
    assert one.decompress(out) == data and one.eof and one.unused_data == b""
    assert subprocess.run(["gzip", "-dc"], input=out, capture_output=True, check=True).stdout == data
    assert size < 1024 or len(out) < 0.7 * size


@pytest.mark.skipif(not shutil.which("zstd"), reason="no zstd command: `make setup` installs it")
@pytest.mark.parametrize("size", SIZES)
def test_other_readers_of_zstd(tmp_path: Path, size: int) -> None:
    data = data_of(size)
    out, _ = packed(tmp_path, data, ZSTD(), 2)
    assert subprocess.run(["zstd", "-dc"], input=out, capture_output=True, check=True).stdout == data


def test_a_pipe_that_is_filled_bit_by_bit_makes_no_difference(tmp_path: Path) -> None:
    data = data_of(2 * BLOCK + 77)
    expected, _ = packed(tmp_path, data, GZIP(), 1)
    read_fd, write_fd = os.pipe()

    def fill() -> None:
        with open(write_fd, "wb", buffering=0) as pipe:
            source = io.BytesIO(data)
            while piece := source.read(7777):
                pipe.write(piece)

    filler = threading.Thread(target=fill)
    filler.start()
    heard: list[int] = []
    with open(tmp_path / "piped", "wb") as target, open(read_fd, "rb", buffering=0):
        compress.compress(read_fd, target.fileno(), GZIP(), 2, heard.append)
    filler.join()
    assert (tmp_path / "piped").read_bytes() == expected and sum(heard) == len(data)


def test_errors_end_it_and_its_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of(9 * BLOCK)
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    (tmp_path / "in").write_bytes(data)
    before = threading.active_count()
    with open(tmp_path / "in", "rb") as source, pytest.raises(BrokenPipeError):
        compress.compress(source.fileno(), write_fd, GZIP(), 2)
    os.close(write_fd)

    class Broken(GZIP):
        def block(self, data: bytes, /) -> bytes:
            raise MemoryError

    with pytest.raises(MemoryError):
        packed(tmp_path, data, Broken(), 2)
    assert threading.active_count() == before


@pytest.mark.parametrize(("name", "level"), [("xz", None), ("gzip", 4), ("gzip", -1), ("zstd", 0), ("zstd", 20)])
def test_forms_and_levels_that_are_none(name: str, level: Any) -> None:
    with pytest.raises(ValueError, match=name):
        compress.form_of(name, level)
