"""`python -m benchmarks [NAME ...]`: run the measures (all, or those named) and print the table. BENCH_ROUNDS=N sets the rounds (default 15).

Exit code 1 where a bar is missed. Runs with whatever peers are there; a ratio without its peer is not judged.
"""

import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import measures
from benchmarks.contenders import Contenders
from benchmarks.networks import NETWORKS
from benchmarks.ports import PORTS
from benchmarks.table import Row, render
from benchmarks.transfers import TRANSFERS
from benchmarks.volumes import VOLUMES

MEASURES = {**measures.MEASURES, **TRANSFERS, **NETWORKS, **PORTS, **VOLUMES}


def main() -> int:
    """Returns the exit code."""
    names = sys.argv[1:] or list(MEASURES)
    if unknown := [n for n in names if n not in MEASURES]:
        print(f"no measure {unknown[0]}: there are {', '.join(MEASURES)}", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("benchmarks need root", file=sys.stderr)
        return 2
    rounds = int(os.environ.get("BENCH_ROUNDS", "15"))
    rows: list[Row] = []
    with ExitStack() as stack:
        contenders = Contenders.start(stack)
        print("\n".join(contenders.versions()), flush=True)
        for name in names:
            began = time.monotonic()
            try:
                rows += MEASURES[name](contenders, rounds)
            except AssertionError as error:
                rows.append(Row(name, None, bar="runs", met=False, note=str(error).strip().splitlines()[0][:100]))
            print(f"  {name}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    print(render(rows))
    if folder := os.environ.get("BENCH_RESULTS"):
        Path(folder, f"bench-{int(time.time())}.json").write_text(json.dumps([row.as_dict() for row in rows], indent=1))
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
