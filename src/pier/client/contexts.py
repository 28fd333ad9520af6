"""Contexts: named daemons, in the folder and format that Docker's own client uses, so that both see the same.

    <config>/config.json                          "currentContext": NAME
    <config>/contexts/meta/<sha256 of NAME>/meta.json
    <config>/contexts/tls/<sha256 of NAME>/docker/{ca,cert,key}.pem

Source: docker/cli, "Docker contexts" reference. `default` is no file: it is what the environment says, else Pier's own socket.
"""

import os

from pier.client import jsontext
from pier.client.configfile import Lock, write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT = "default"
DEFAULT_HOST = "unix:///run/pier.sock"


class ContextError(Exception):
    """A context is missing, broken or misnamed; the text says which and how."""


def identifier(name: str) -> str:
    """The name of a context's folder: sha256 of its name in hex."""
    from importlib import import_module

    try:
        digest = import_module("_sha256").sha256  # the C half: hashlib takes 3 ms and loads OpenSSL
    except ImportError:
        digest = import_module("hashlib").sha256
    return str(digest(name.encode()).hexdigest())


def meta_file(config_dir: str, name: str) -> str:
    """Where the description of a context lies."""
    return f"{config_dir}/contexts/meta/{identifier(name)}/meta.json"


def load(config_dir: str, name: str) -> "dict[str, Any]":
    """The description (meta.json) of a context. Raises ContextError."""
    path = meta_file(config_dir, name)
    try:
        with open(path, encoding="utf-8") as file:
            found = jsontext.decode(file.read())
    except FileNotFoundError:
        raise ContextError(f'context "{name}": context not found: open {path}: no such file or directory') from None
    except (OSError, ValueError) as error:
        raise ContextError(f'context "{name}": {path}: {error}') from None
    if not isinstance(found, dict):
        raise ContextError(f'context "{name}": {path}: not an object')
    return found


def host_of(description: "dict[str, Any]") -> str:
    """The address in a context's Docker endpoint, empty where it has none."""
    endpoint = (description.get("Endpoints") or {}).get("docker") or {}
    return str(endpoint.get("Host") or "")


def names(config_dir: str) -> list[str]:
    """All stored contexts, sorted."""
    base = f"{config_dir}/contexts/meta"
    found = []
    try:
        folders = os.listdir(base)
    except OSError:
        return []
    for folder in folders:
        try:
            with open(f"{base}/{folder}/meta.json", encoding="utf-8") as file:
                found.append(str(jsontext.decode(file.read())["Name"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return sorted(found)


def check_name(name: str) -> None:
    """Refuse what cannot be a context's name. Raises ContextError with Docker's text."""
    if not name:
        raise ContextError("context name cannot be empty")
    if name == DEFAULT:
        raise ContextError('"default" is a reserved context name')
    plain = all(char.isascii() and (char.isalnum() or char in "_.+-") for char in name)
    if not plain or not name[0].isalnum() or len(name) < 2:
        raise ContextError(f'context name "{name}" is invalid, names are validated against regexp "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"')


def store(config_dir: str, name: str, description: "dict[str, Any]") -> None:
    """Write a context's description, replacing an older one whole or not at all. Raises ConfigError."""
    path = meta_file(config_dir, name)
    with Lock(config_dir):
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        write_whole(path, jsontext.encode(description).encode(), 0o644)


def remove(config_dir: str, name: str) -> None:
    """Remove a context's description and keys."""
    key = identifier(name)
    for base in (f"{config_dir}/contexts/meta/{key}", f"{config_dir}/contexts/tls/{key}"):
        for folder, folders, files in os.walk(base, topdown=False):
            for file in files:
                os.unlink(f"{folder}/{file}")
            for inner in folders:
                os.rmdir(f"{folder}/{inner}")
        if os.path.isdir(base):
            os.rmdir(base)


def tls_files(config_dir: str, name: str) -> "dict[str, dict[str, str]]":
    """{endpoint: {file name: path}} of a context's keys."""
    base = f"{config_dir}/contexts/tls/{identifier(name)}"
    found: dict[str, dict[str, str]] = {}
    if os.path.isdir(base):
        for endpoint in sorted(os.listdir(base)):
            if os.path.isdir(f"{base}/{endpoint}"):
                found[endpoint] = {file: f"{base}/{endpoint}/{file}" for file in sorted(os.listdir(f"{base}/{endpoint}"))}
    return found
