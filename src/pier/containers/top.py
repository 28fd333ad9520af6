"""The processes of a container, as `ps` of the host shows them."""

import asyncio
import shutil

from pier.api.models.containers import TopResponse
from pier.containers.processes import describe
from pier.containers.table import Containers
from pier.errors import Conflict, Internal, Invalid

PATIENCE_S = 10


async def top(ctx: Containers, name: str, ps_args: str) -> TopResponse:
    """Titles and rows of a container's processes.

    `ps_args` are options of ps (`-ef` by default); where the host has no ps, `-ef` is answered from /proc and
    other options are refused. Raises NotFound, Conflict (not running), Internal (ps failed).
    """
    container = ctx.find(name)
    if not container.state.running:
        raise Conflict(f"container {container.id} is not running")
    pids = set(ctx.facts.cgroups.pids(container.id))
    options = (ps_args or "-ef").split()
    program = shutil.which("ps")
    if program is None:
        if options != ["-ef"]:
            raise Internal("ps: the host has no ps program (Debian: procps); without it only the default options -ef work")
        return describe(pids)
    process = await asyncio.create_subprocess_exec(
        program, *options, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise Internal(f"ps {' '.join(options)} did not answer within {PATIENCE_S} s") from None
    if process.returncode:
        said = err.decode(errors="replace").strip().partition("\n")[0]
        raise Internal(f"ps: {said or f'exit status {process.returncode}'}")
    return select(out.decode(errors="replace"), pids)


def select(table: str, pids: set[int]) -> TopResponse:
    """The rows of a ps table that belong to `pids`. Raises Invalid where the table has no PID column."""
    lines = table.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise Invalid("Couldn't find PID field in ps output")
    column, rows = titles.index("PID"), []
    for line in lines[1:]:
        fields = line.split(None, len(titles) - 1)
        if len(fields) > column and fields[column].isdigit() and int(fields[column]) in pids:
            rows.append(fields)
    return TopResponse(titles=titles, processes=rows)
