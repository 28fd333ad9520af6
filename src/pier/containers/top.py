"""The processes of a container, as `ps` of the host shows them."""

import asyncio
import shutil

from pier.api.models.containers import TopResponse
from pier.containers.processes import describe
from pier.containers.table import Containers
from pier.errors import Conflict, Internal, Invalid

PATIENCE_S = 10
MOST_NUMBERS = 10_000
"""More numbers of processes do not fit into one argument (128 KiB, execve(2))."""


async def top(ctx: Containers, name: str, ps_args: str) -> TopResponse:
    """Titles and rows of a container's processes.

    `ps_args` are options of ps (`-ef` by default); where the host has no ps, `-ef` is answered from /proc and
    other options are refused. Raises NotFound, Conflict (not running), Invalid, Internal (ps failed).
    """
    container = ctx.find(name)
    if not await container.is_running():
        raise Conflict(f"container {container.id} is not running")
    if "\0" in ps_args:
        raise Invalid(f"invalid NUL byte in the options of ps: {ps_args!r}")
    pids = set(ctx.facts.cgroups.pids(container.id))
    options = (ps_args or "-ef").split()
    ctx.publish(container, "top")
    program = shutil.which("ps")
    if program is None:
        if options != ["-ef"]:
            raise Internal("ps: the host has no ps program (Debian: procps); without it only the default options -ef work")
        return describe(pids)
    # by number, as Docker: options that choose nobody (`-o pid,comm`) would show what shares the daemon's terminal
    by_number = ["-q", ",".join(map(str, sorted(pids)))] if 0 < len(pids) < MOST_NUMBERS else []
    out, problem = await _ps(program, [*options, *by_number])
    if problem and by_number:  # some options cannot be beside -q
        out, problem = await _ps(program, options)
    if problem:
        raise Internal(f"ps: {problem}")
    return select(out, pids)


async def _ps(program: str, options: list[str]) -> tuple[str, str]:
    """What ps printed, and what was wrong ("": nothing). Raises Internal where it does not answer."""
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
        return "", said or f"exit status {process.returncode}"
    return out.decode(errors="replace"), ""


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
