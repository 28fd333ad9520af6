"""The key of the sealed store: in a file beside it, or in the kernel's keyring of the user.

    file       <config>/pier-credentials.<id>.key, 0600: survives a reboot. Guards against what shows, copies or checks in config.json and the
               store without the key; whoever may read the whole folder can open it
    keyring    nothing on disk opens the store; the key is gone when the machine ends, then one logs in again

A key never changes: a new one has a new id, so that at every instant the store names a key that is there.
"""

import os

from pier.client.configfile import write_whole
from pier.client.credentials.auth import CredentialError

FILE, KEYRING = "file", "keyring"
PLACES = (FILE, KEYRING)
KEY_BYTES = 32
_PREFIX, _SUFFIX = "pier-credentials.", ".key"


class KeyGone(CredentialError):
    """The key that the store names is nowhere: what it sealed can be opened by nobody."""


def _path(config_dir: str, key_id: str) -> str:
    return f"{config_dir}/{_PREFIX}{key_id}{_SUFFIX}"


def _description(key_id: str) -> str:
    return f"pier-credentials:{key_id}"


def make(config_dir: str, place: str) -> tuple[str, bytes]:
    """A new key, kept durably: (its id, the key). The caller has the folder's lock. Raises CredentialError, ConfigError."""
    key_id, key = os.urandom(8).hex(), os.urandom(KEY_BYTES)
    if place == FILE:
        write_whole(_path(config_dir, key_id), key, 0o600)
        return key_id, key
    from pier.linux import keyring

    try:
        keyring.write(_description(key_id), key)
    except OSError as error:
        raise CredentialError(
            f'the kernel\'s keyring does not take a key ({error.strerror}): set "pierCredentials" of config.json to "file"'
        ) from None
    return key_id, key


def load(config_dir: str, place: str, key_id: str) -> bytes:
    """The key of a store. Raises KeyGone, and CredentialError for one that may not be used; both say how to go on."""
    if place == FILE:
        path = _path(config_dir, key_id)
        key = _from_file(path)
        gone = f"the key of the stored credentials is gone ({path}): log in again"
    else:
        key = _from_keyring(key_id)
        gone = "the key of the stored credentials is not in the kernel's keyring any more (it lasts until the machine ends): log in again"
    if key is None or len(key) != KEY_BYTES:
        raise KeyGone(gone)
    return key


def _from_file(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CredentialError(f"{path}: {error.strerror}") from None
    try:
        mode = os.fstat(fd).st_mode
        if mode & 0o077:
            raise CredentialError(f"{path}: others may read it (mode {mode & 0o777:o}): chmod 600, and change the passwords that it guards")
        return os.read(fd, KEY_BYTES + 1)
    finally:
        os.close(fd)


def _from_keyring(key_id: str) -> bytes | None:
    from pier.linux import keyring

    try:
        return keyring.read(_description(key_id))
    except OSError as error:
        raise CredentialError(f"the kernel's keyring cannot be read: {error.strerror}") from None


def forget(config_dir: str, place: str, key_id: str) -> None:
    """Let go of a key that no store names any more; what cannot be removed is left. The caller has the folder's lock."""
    try:
        if place == FILE:
            os.unlink(_path(config_dir, key_id))
        else:
            from pier.linux import keyring

            keyring.remove(_description(key_id))
    except OSError:
        pass


def forget_others(config_dir: str, key_id: str) -> None:
    """Remove the key files that a killed writer left: all but this one. The caller has the folder's lock."""
    for name in os.listdir(config_dir):
        if name.startswith(_PREFIX) and name.endswith((_SUFFIX, f"{_SUFFIX}.pier-new")) and name != f"{_PREFIX}{key_id}{_SUFFIX}":
            try:
                os.unlink(f"{config_dir}/{name}")
            except OSError:
                pass
