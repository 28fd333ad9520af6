"""Which compression a stream has, by its first bytes, and the stage that undoes it (gzip by isal, zstd, xz, bzip2, or none)."""

import bz2
import lzma
import sys
from typing import Protocol

from isal import igzip_lib

from pier.archive.chunks import Chunks, Piece, Pull
from pier.archive.refusal import BadArchive

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

INPUT_BYTES = 128 << 10
OUTPUT_BYTES = 512 << 10
_ZSTD_WINDOW_LOG = 25  # 32 MiB, what `zstd -20` uses, four times what builders use: it bounds the worker's memory
_XZ_MEMORY_BYTES = 128 << 20  # twice what `xz -9` needs
_KNOWN_FOREIGN = ((b"PK\3\4", "zip"), (b"\x04\x22\x4d\x18", "lz4"))
_PADDED = frozenset({"gzip", "xz"})  # zero bytes may follow (tapes; the xz format's stream padding)


# bz2 says OSError for damaged data. isal's stub does not say that its error is an Exception.
_FAULTS: tuple[type[Exception], ...] = (igzip_lib.IsalError, zstd.ZstdError, lzma.LZMAError, EOFError, ValueError, OSError)  # type: ignore[assignment]


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes: ...


def kind(head: bytes) -> str:
    """"gzip", "zstd", "xz", "bzip2" or "none" for the first bytes of a stream; raises BadArchive for one that is known but not read."""
    if head[:3] == b"\x1f\x8b\x08":
        return "gzip"
    if head[:4] == b"\x28\xb5\x2f\xfd" or (len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return "zstd"
    if head[:6] == b"\xfd7zXZ\0":
        return "xz"
    if head[:3] == b"BZh" and head[3:4].isdigit():
        return "bzip2"
    for magic, name in _KNOWN_FOREIGN:
        if head.startswith(magic):
            raise BadArchive("", f"it is compressed with {name}: use gzip, zstd, xz, bzip2 or no compression")
    return "none"


def expand(source: Chunks) -> tuple[str, Pull]:
    """The compression of `source` and a stage that yields its expanded bytes.

    Members of gzip, frames of zstd and streams of xz and bzip2 that follow each other are read as one, zero bytes after gzip and xz are
    padding, anything else is refused (gzip(1) calls it trailing garbage).
    """
    name = kind(source.peek(8))
    if name == "none":
        return name, lambda: source.some(OUTPUT_BYTES)
    return name, _stage(source, name)


def _new(name: str) -> _Decoder:
    if name == "gzip":
        gzip: _Decoder = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        return gzip
    if name == "xz":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY_BYTES)
    if name == "bzip2":
        return bz2.BZ2Decompressor()
    frame: _Decoder = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})
    return frame


def _stage(source: Chunks, name: str) -> Pull:
    decoder = _new(name)
    ended = False

    def pull() -> Piece:
        nonlocal decoder, ended
        while not ended:
            data = b""
            if decoder.eof:
                data = decoder.unused_data or bytes(source.some(INPUT_BYTES))
                if name in _PADDED:
                    data = data.lstrip(b"\0")
                    while not data and (piece := source.some(INPUT_BYTES)):
                        data = bytes(piece).lstrip(b"\0")
                if not data:
                    ended = True
                    break
                decoder = _new(name)
            elif decoder.needs_input:
                data = bytes(source.some(INPUT_BYTES))
                if not data:
                    raise BadArchive("", f"the {name} stream ends in the middle")
            try:
                out = decoder.decompress(data, OUTPUT_BYTES)
            except _FAULTS as error:
                raise BadArchive("", f"the {name} stream is damaged: {error}") from None
            if out:
                return out
        return b""

    return pull
