"""Pier's own store: a box for each server, sealed by AES-256-GCM (NIST SP 800-38D). The servers' names are readable, as in Docker's file.

    {"version": 1, "place": "file", "key": "<id>", "boxes": {"reg.example:5000": "<base64 of nonce, ciphertext, tag>"}}

Each box is bound to its server and key, so that none can be moved to another server's name. What is in a box is padded: its size tells nothing.
`cryptography` is imported when a box is opened or made, not before.
"""

import binascii
import os

from pier.client import jsontext
from pier.client.configfile import Lock, write_whole
from pier.client.credentials import keys
from pier.client.credentials.auth import SEALED_FILE, AuthConfig, CredentialError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VERSION = 1
_NONCE_BYTES = 12
_PAD_BYTES = 512


class _Document:
    """The file's content; `key` is "" where nothing was sealed yet."""

    def __init__(self, place: str, key: str, boxes: "dict[str, str]") -> None:
        self.place = place
        self.key = key
        self.boxes = boxes

    def encode(self) -> bytes:
        content = {"version": _VERSION, "place": self.place, "key": self.key, "boxes": {name: self.boxes[name] for name in sorted(self.boxes)}}
        return jsontext.indent(jsontext.encode(content), "\t").encode() + b"\n"


class Sealed:
    """The sealed store of a configuration folder; `place` is where a new key goes. Methods raise CredentialError and ConfigError."""

    def __init__(self, config_dir: str, place: str = keys.FILE) -> None:
        self.path = f"{config_dir}/{SEALED_FILE}"
        self._config_dir = config_dir
        self._place = place

    def get(self, server: str) -> AuthConfig | None:
        """The login at a server, None where there is none."""
        document = self._read()
        if server not in document.boxes:
            return None
        return self._opened(document, keys.load(self._config_dir, document.place, document.key), server)

    def logged_in(self) -> list[str]:
        """The servers that there are boxes for."""
        return list(self._read().boxes)

    def put(self, auth: AuthConfig) -> list[str]:
        """Keep a login. Returns the servers whose boxes had to be dropped, since their key is gone."""
        with Lock(self._config_dir):
            before = self._read()
            others = [name for name in before.boxes if name != auth.server]
            key = self._key_of(before)
            if key is not None and before.place == self._place:
                key_id, boxes, lost = before.key, before.boxes, list[str]()
            else:
                moved = [self._opened(before, key, name) for name in others] if key is not None else []
                lost = others if key is None else []
                key_id, key = keys.make(self._config_dir, self._place)
                boxes = {other.server: _seal(key, key_id, other) for other in moved}
            boxes[auth.server] = _seal(key, key_id, auth)
            write_whole(self.path, _Document(self._place, key_id, boxes).encode(), 0o600)
            if before.key and before.key != key_id:
                keys.forget(self._config_dir, before.place, before.key)
            keys.forget_others(self._config_dir, key_id)
            return lost

    def drop(self, server: str) -> bool:
        """Forget a login; whether there was one. The last one takes the key with it."""
        if not os.path.exists(self.path):
            return False
        with Lock(self._config_dir):
            document = self._read()
            if document.boxes.pop(server, None) is None:
                return False
            if document.boxes:
                write_whole(self.path, document.encode(), 0o600)
                return True
            os.unlink(self.path)
            keys.forget(self._config_dir, document.place, document.key)
            keys.forget_others(self._config_dir, "")
            return True

    def _read(self) -> _Document:
        try:
            with open(self.path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return _Document(self._place, "", {})
        except OSError as error:
            raise CredentialError(f"{self.path}: {error.strerror}") from None
        document = _decoded(data)
        if document is None:
            raise CredentialError(f"{self.path}: this is no store of credentials that this Pier reads: move it away and log in again")
        return document

    def _opened(self, document: _Document, key: bytes, server: str) -> AuthConfig:
        try:
            fields = jsontext.decode(_open(key, document.key, server, binascii.a2b_base64(document.boxes[server])))
            return AuthConfig(server, fields["username"], fields["password"], fields["identitytoken"])
        except (ValueError, KeyError, TypeError):
            raise CredentialError(f"{self.path}: the entry of {server} was changed or is damaged: log in again") from None

    def _key_of(self, document: _Document) -> bytes | None:
        try:
            return keys.load(self._config_dir, document.place, document.key) if document.key else None
        except keys.KeyGone:
            return None


def _decoded(data: bytes) -> _Document | None:
    """The document in the file's bytes, None where there is none that this version reads."""
    try:
        found = jsontext.decode(data)
        document = _Document(found["place"], found["key"], found["boxes"])
        sound = found["version"] == _VERSION and document.place in keys.PLACES and _is_hex(document.key) and _all_texts(document.boxes)
    except (ValueError, KeyError, TypeError):
        return None
    return document if sound else None


def _is_hex(text: "Any") -> bool:
    return isinstance(text, str) and bool(text) and all(char in "0123456789abcdef" for char in text)


def _all_texts(boxes: "Any") -> bool:
    return isinstance(boxes, dict) and all(isinstance(box, str) for box in boxes.values())


def _bound_to(key_id: str, server: str) -> bytes:
    return f"pier-credentials {_VERSION} {key_id} {server}".encode()


def _seal(key: bytes, key_id: str, auth: AuthConfig) -> str:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    fields = {"username": auth.username, "password": auth.password, "identitytoken": auth.identity_token}
    text = jsontext.encode(fields).encode()
    text += b" " * (-len(text) % _PAD_BYTES)
    nonce = os.urandom(_NONCE_BYTES)
    box = nonce + AESGCM(key).encrypt(nonce, text, _bound_to(key_id, auth.server))
    return binascii.b2a_base64(box, newline=False).decode()


def _open(key: bytes, key_id: str, server: str, box: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], _bound_to(key_id, server))
    except InvalidTag:
        raise ValueError("another key, another server's box, or changed bytes") from None
