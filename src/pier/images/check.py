"""POST /pier/images/check: every blob, layer, index and record of images is verified; what is broken is named, and repaired where asked."""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pier.errors import Internal, NotFound, PierError
from pier.images import check_plan as plan
from pier.images import progress
from pier.images.check_plan import Part, Problem, Report
from pier.images.check_repair import Repairer
from pier.images.context import Context, Users
from pier.images.garbage import keeping
from pier.images.layer_job import run
from pier.images.pull_layers import Transfers
from pier.oci import reference as references
from pier.registry.credentials import Credentials

_READ_BYTES, _TELL_BYTES = 1 << 20, 32 << 20


@dataclass(frozen=True)
class Asked:
    """What is wanted. names: images, all where there are none; digests: only these of what they stand on; credentials: by domain."""

    names: Sequence[str] = ()
    digests: Sequence[str] = ()
    repair: bool = False
    credentials: Mapping[str, Credentials] = field(default_factory=dict)


async def check(ctx: Context, transfers: Transfers, users: Users, asked: Asked) -> AsyncIterator[progress.Line]:
    """Lines of progress, one "Verified" or "Broken" for each part, and at the end {"aux": the report}.

    Raises NotFound, Invalid for a name before the first line; what goes wrong later is the last line.
    """
    checker = _Check(ctx, transfers, users, asked)
    work = asyncio.ensure_future(checker.run())
    work.add_done_callback(lambda _: checker.lines.put_nowait(None))
    try:
        while (line := await checker.lines.get()) is not None:
            yield line
        try:
            work.result()
        except (PierError, OSError) as error:
            yield progress.failed(str(error))
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError, PierError, OSError):
            await work


class _Check:
    def __init__(self, ctx: Context, transfers: Transfers, users: Users, asked: Asked) -> None:
        self._ctx, self._asked = ctx, asked
        self._repairer = Repairer(ctx, transfers, users, asked.credentials)
        self._loop = asyncio.get_running_loop()
        self.lines: asyncio.Queue[progress.Line | None] = asyncio.Queue()
        self._images = [image for name in asked.names for image in ctx.catalog.meant(name)] if asked.names else ctx.catalog.everything()
        lost = {} if asked.names else _lost(ctx)
        meanings = [meaning for image in self._images for name in image.references if (meaning := ctx.catalog.meaning(name))]
        self._parts = plan.parts(self._images, meanings, lost)
        self.report = Report(images=len({image.id for image in self._images}) + len(lost))

    async def run(self) -> None:
        """All parts, one after the other. Raises PierError, OSError for what keeps it from going on."""
        wanted = set(self._asked.digests)
        for part in self._parts:
            if not wanted or part.digest in wanted:
                async with keeping(self._ctx, {part.digest, *((part.diff_id,) if part.diff_id else ())}):
                    await self._part(part)
        self.lines.put_nowait({"aux": self.report.to_wire()})

    async def _part(self, part: Part) -> None:
        scratch = self._ctx.content.scratch()
        try:
            problem = await self._problem(part, scratch)
            self.report.parts += 1
            if problem is None:
                self._say(part, "Verified")
                return
            self._say(part, f"Broken: {problem.text}")
            how, tried = await self._repairer.repair(part, problem, scratch) if self._asked.repair else (None, "")
            if how is not None:
                self._say(part, f"Repaired: {how}")
            self.report.add(part, problem, how, "" if how else plan.advice(part, tried), self._repairer.domains(part))
        finally:
            await asyncio.to_thread(self._ctx.content.remove_scratch, scratch)

    async def _problem(self, part: Part, scratch: Path) -> Problem | None:
        try:
            return await (self._layer(part, scratch) if part.kind == "layer" else asyncio.to_thread(self._blob, part))
        except NotFound:
            return Problem("it is missing")
        except Internal as error:
            return Problem(str(error))
        except OSError as error:
            return Problem(f"it cannot be read: {error.strerror}")

    def _blob(self, part: Part) -> Problem | None:
        """In a thread."""
        content = self._ctx.content
        total, done, told, digest = content.size(part.digest), 0, 0, hashlib.sha256()
        fd = content.open(part.digest)
        try:
            while data := os.read(fd, _READ_BYTES):
                digest.update(data)
                done += len(data)
                if done - told >= _TELL_BYTES:
                    told = done
                    self._loop.call_soon_threadsafe(self._progress, part, done, total)
        finally:
            os.close(fd)
        self.report.bytes += done
        found = "sha256:" + digest.hexdigest()
        return None if found == part.digest else Problem(f"its bytes have the digest {found}")

    async def _layer(self, part: Part, scratch: Path) -> Problem | None:
        kind, tar_fd, other_fd = await asyncio.to_thread(self._ctx.layers.open_parts, part.digest)
        total = self._ctx.layers.size(part.digest)[0]
        try:
            answer = await run(
                self._ctx, "verify", [tar_fd, other_fd], scratch, lambda event: self._progress(part, int(event["bytes"]), total),
                kind=kind, diff_id=part.digest,
            )  # fmt: skip
        finally:
            os.close(tar_fd)
            os.close(other_fd)
        self.report.bytes += total
        return Problem(str(answer["problem"]), str(answer["index"])) if answer["problem"] else None

    def _progress(self, part: Part, current: int, total: int) -> None:
        self.lines.put_nowait(progress.step("Verifying", _short(part), current, total))

    def _say(self, part: Part, status: str) -> None:
        self.lines.put_nowait({"status": status, "id": f"{part.kind} {_short(part)}"})


def _short(part: Part) -> str:
    return part.digest.removeprefix("sha256:")[:12]


def _lost(ctx: Context) -> dict[str, list[str]]:
    """Images that have rows and no configuration that can be read, with their names."""
    known = {image.id for image in ctx.catalog.everything()}
    lost: dict[str, list[str]] = {row["id"]: [] for row in ctx.store.read("SELECT id FROM images") if row["id"] not in known}
    for row in ctx.store.read("SELECT reference, image_id FROM tags"):
        if row["image_id"] in lost:
            lost[row["image_id"]].append(str(references.from_key(row["reference"])))
    return lost
