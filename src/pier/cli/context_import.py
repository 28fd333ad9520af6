"""`pier context import`: a context from a tar or zip archive."""

import io
import os

from pier.cli.context_values import save
from pier.cli.session import Cli, CommandError
from pier.client import configfile, contexts, jsontext
from pier.client.connection import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "CONTEXT FILE|-"
SHORT = "Import a context from a tar or zip file"
FLAGS = ()
ARGS = (2, 2)
LIMIT_BYTES = 10 << 20


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Store it under its new name; prints the name. An archive with other entries than a context's is refused whole."""
    name, source = args
    try:
        contexts.check_name(name)
    except contexts.ContextError as error:
        raise CommandError(str(error)) from None
    if name in contexts.names(cli.config_dir):
        raise CommandError(f'context "{name}" already exists')
    try:
        fd = 0 if source == "-" else os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CommandError(f"open {source}: {(error.strerror or '').lower()}") from None
    data = b"".join(read_file(fd))
    if len(data) > LIMIT_BYTES:
        raise CommandError("the archive of the context is too large")
    entries = _zip_entries(data) if data[:4] == b"PK\x03\x04" else _tar_entries(data)
    keys: dict[str, bytes] = {}
    description = None
    for path, content in entries.items():
        parts = path.split("/")
        if path == "meta.json":
            try:
                description = jsontext.decode(content)
            except ValueError as error:
                raise CommandError(f"meta.json: {error}") from None
        elif len(parts) == 3 and parts[0] == "tls" and all(part not in ("", ".", "..") for part in parts):
            keys[f"{parts[1]}/{parts[2]}"] = content
        else:
            raise CommandError(f"unexpected path in the archive: {path}")
    if not isinstance(description, dict):
        raise CommandError("invalid context: no metadata found")
    description["Name"] = name
    base = f"{cli.config_dir}/contexts/tls/{contexts.identifier(name)}"
    try:
        with configfile.Lock(cli.config_dir):
            for path, content in keys.items():
                os.makedirs(os.path.dirname(f"{base}/{path}"), mode=0o700, exist_ok=True)
                configfile.write_whole(f"{base}/{path}", content, 0o600)
    except configfile.ConfigError as error:
        raise CommandError(str(error)) from None
    save(cli, name, description)
    cli.out(name + "\n")
    cli.err(f'Successfully imported context "{name}"\n')
    return 0


def _tar_entries(data: bytes) -> dict[str, bytes]:
    import tarfile

    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for entry in tar:
                if entry.isdir():
                    continue
                content = tar.extractfile(entry) if entry.isreg() else None
                if content is None:
                    raise CommandError(f"unexpected entry in the archive: {entry.name}")
                found[entry.name] = content.read()
    except tarfile.TarError as error:
        raise CommandError(f"not a context's archive: {error}") from None
    return found


def _zip_entries(data: bytes) -> dict[str, bytes]:
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LIMIT_BYTES:
                raise CommandError("the archive of the context is too large")
            return {entry.filename: archive.read(entry) for entry in archive.infolist() if not entry.is_dir()}
    except zipfile.BadZipFile as error:
        raise CommandError(f"not a context's archive: {error}") from None
