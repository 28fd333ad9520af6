"""Detach keys: `ctrl-p,ctrl-q` -> the bytes that a terminal sends for them. Pure."""

from pier.errors import Invalid

DEFAULT = b"\x10\x11"


def parse(text: str) -> bytes:
    """The byte sequence of a list of keys; the default for an empty text. Raises Invalid with Docker's text.

    A key is one character, or `ctrl-` with a letter or one of `@[\\]^_`.
    """
    if not text:
        return DEFAULT
    sequence = bytearray()
    for key in text.split(","):
        if len(key) == 1 and key.isascii():
            sequence += key.encode()
        elif key.startswith("ctrl-") and len(key) == 6 and (key[5].isalpha() or key[5] in "@[\\]^_") and key.isascii():
            sequence.append(ord(key[5].upper()) & 0x1F)
        else:
            raise Invalid(f"Invalid escape keys ({text}) provided")
    return bytes(sequence)
