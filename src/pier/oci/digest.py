"""Digests: `sha256:<64 lowercase hex>`, the only algorithm that Pier stores.

Grammar and error texts: OCI image-spec descriptor.md, "Digests"; the texts are those of Docker's own parser.
"""

import hashlib
import re

from pier.errors import Invalid

HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_FORM = re.compile(r"([a-z0-9]+(?:[.+_-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)")
_SHA256 = re.compile(r"sha256:[a-f0-9]{64}")


def check(text: str) -> str:
    """Return `text` if it is a digest of a known algorithm; raises Invalid with Docker's three texts."""
    found = _FORM.fullmatch(text)
    if not found:
        raise Invalid("invalid checksum digest format")
    length = HEX_LENGTHS.get(found[1])
    if length is None:
        raise Invalid("unsupported digest algorithm")
    if len(found[2]) != length:
        raise Invalid("invalid checksum digest length")
    if not re.fullmatch(r"[a-f0-9]+", found[2]):
        raise Invalid("invalid checksum digest format")
    return text


def is_sha256(text: str) -> bool:
    """Whether `text` is exactly a sha256 digest: safe as a file name once the prefix is taken off."""
    return _SHA256.fullmatch(text) is not None


def of(data: bytes) -> str:
    """The sha256 digest of a byte string."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def hex_part(digest: str) -> str:
    """What follows the colon."""
    return digest.partition(":")[2]


def chain_id(diff_ids: tuple[str, ...]) -> str:
    """The chain ID of a stack of layers, the bottom one first; "" for none (OCI image-spec config.md, "Layer ChainID")."""
    chain = ""
    for diff_id in diff_ids:
        chain = of(f"{chain} {diff_id}".encode()) if chain else diff_id
    return chain
