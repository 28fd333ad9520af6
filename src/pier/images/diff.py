"""GET /pier/images/diff: what one image shows and says that another does not."""

import asyncio
import os
import tempfile
from typing import Any

import msgspec

from pier.images.context import Context
from pier.images.garbage import keeping
from pier.images.image import Image
from pier.images.layer_job import open_tars, run
from pier.oci.image_config import ImageConfig

_UNCOMPARED = frozenset({"history", "rootfs", "created", "config"})
# Left by the container that an image was committed from; no container of the image takes them.
_MEANINGLESS = frozenset({"AttachStderr", "AttachStdin", "AttachStdout", "Domainname", "Hostname", "Image", "OpenStdin", "StdinOnce", "Tty"})


async def diff(ctx: Context, before: str, after: str) -> tuple[bytes, int, int]:
    """(the head of the answer, a file with the list of files, its size); the file has no name and is the caller's to close.

    The head is a JSON object without its end: From and To (IDs), Config (differences of the configurations), Counts. The file has
    the objects of archive.compare with commas between. Raises NotFound, Invalid, Unavailable.
    """
    one, other = ctx.catalog.resolve(before), ctx.catalog.resolve(after)
    known = list(dict.fromkeys([*one.diff_ids, *other.diff_ids]))
    numbers: dict[str, Any] = {"from": [known.index(diff_id) for diff_id in one.diff_ids], "to": [known.index(diff_id) for diff_id in other.diff_ids]}
    async with keeping(ctx, known):
        scratch = ctx.content.scratch()
        try:
            with tempfile.TemporaryFile(dir=scratch) as out:
                async with open_tars(ctx, known) as tars:
                    counts = await run(ctx, "compare", [out.fileno(), *tars], scratch, **numbers)
                head = _head(one, other, {name.capitalize(): counts[name] for name in ("changed", "added", "removed")})
                return head, os.dup(out.fileno()), os.fstat(out.fileno()).st_size
        finally:
            await asyncio.to_thread(ctx.content.remove_scratch, scratch)


def _head(one: Image, other: Image, counts: dict[str, int]) -> bytes:
    fields = {"From": one.id, "To": other.id, "Counts": counts, "Config": differences(one.config, other.config)}
    return msgspec.json.encode(fields)[:-1]


def differences(one: ImageConfig, other: ImageConfig) -> list[dict[str, Any]]:
    """Name, From and To of each thing that the configurations say differently; null for what one does not say. Pure.

    Variables and labels count one by one (`Env.PATH`, `Labels.version`).
    """
    before, after = _said(one), _said(other)
    return [
        {"Name": name, "From": before.get(name), "To": after.get(name)}
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _said(config: ImageConfig) -> dict[str, Any]:
    fields = msgspec.to_builtins(config)
    said: dict[str, Any] = {_title(name): value for name, value in fields.items() if name not in _UNCOMPARED}
    for name, value in fields["config"].items():
        if name == "Env":
            pairs = (variable.partition("=") for variable in value or ())
            said |= {f"Env.{key}": text for key, _, text in pairs}
        elif name == "Labels":
            said |= {f"Labels.{key}": text for key, text in (value or {}).items()}
        elif name not in _MEANINGLESS:
            said[name] = value
    return {name: value for name, value in said.items() if value not in (None, "", [], {}, False)}


def _title(name: str) -> str:
    """`docker_version` -> `DockerVersion`."""
    return "".join(part.capitalize() for part in name.replace(".", "_").split("_"))
