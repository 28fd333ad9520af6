"""`pier context export`: a context as a tar archive."""

import io
import os
import tarfile

from pier.cli.context_values import description_of
from pier.cli.session import Cli, CommandError
from pier.client import contexts, jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] CONTEXT [FILE|-]"
SHORT = "Export a context to a tar archive FILE or a tar stream on STDOUT."
FLAGS = ()
ARGS = (1, 2)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Write meta.json and the keys; 0. A file that is there is not replaced."""
    name = args[0]
    if name == contexts.DEFAULT:
        raise CommandError('default: context "default" cannot be exported')
    data = archive(cli, name)
    target = args[1] if len(args) > 1 else f"{name}.dockercontext"
    if target == "-":
        if os.isatty(1):
            raise CommandError("cowardly refusing to export to a terminal, specify a file path")
        cli.out(data)
        return 0
    try:
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CommandError(f"open {target}: {(error.strerror or '').lower()}") from None
    with open(fd, "wb") as file:
        file.write(data)
    cli.err(f'Written file "{target}"\n')
    return 0


def archive(cli: Cli, name: str) -> bytes:
    """The archive as bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _add(tar, "meta.json", jsontext.encode(description_of(cli, name)).encode(), 0o644)
        for endpoint, files in contexts.tls_files(cli.config_dir, name).items():
            for file, path in files.items():
                with open(path, "rb") as source:
                    _add(tar, f"tls/{endpoint}/{file}", source.read(), 0o600)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))
