"""`pierd keeper`: the program that the daemon starts as the keeper, with its table of helpers.

Everything that a helper needs is imported here, before its fork. Imports neither asyncio nor msgspec: this process and
its helpers stay for as long as any container runs.
"""

import sys
from collections.abc import Mapping, Sequence

from pier.ipc import Channel
from pier.runtime import child, forked, keeper, launcher


def command(exec_root: str, instance: str) -> list[str]:
    """The command line of a keeper. Isolated (-I): neither PYTHONPATH nor the working folder can put other code in."""
    return [sys.executable, "-I", "-m", "pier.daemon.keeper", "--exec-root", exec_root, "--instance", instance]


def main(arguments: Sequence[str]) -> None:
    """Be the keeper of `--exec-root R --instance I`. Raises SystemExit 2 for other arguments."""
    if len(arguments) != 4 or arguments[0] != "--exec-root" or arguments[2] != "--instance":
        print("usage: pierd keeper --exec-root PATH --instance NAME (pierd starts it itself)", file=sys.stderr)
        raise SystemExit(2)
    exec_root, instance = arguments[1], arguments[3]

    def launch(channel: Channel) -> None:
        launcher.main(channel, instance, child.main)

    keeper.main(exec_root, instance, {"launcher": launch}, _others)


def _others() -> Mapping[str, forked.Entry]:
    """Every helper but the launcher, whose children would have all of this in their memory."""
    from pier.archive import worker
    from pier.logs import pump
    from pier.netd import server as netd
    from pier.runtime import mounter

    return {"mounter": mounter.main, "netd": netd.main, "pump": pump.main, "worker": worker.main}


if __name__ == "__main__":
    main(sys.argv[1:])
