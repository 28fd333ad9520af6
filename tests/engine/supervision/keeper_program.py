"""What the tests start as a keeper: the real helpers, and a child whose plan is only {"argv": [...]} or {"fail": {...}}."""

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from pier.ipc import Channel
from pier.runtime import keeper, launcher


def child_main(sock_fd: int) -> NoReturn:
    import socket

    channel = Channel(socket.socket(fileno=sock_fd))
    got = channel.recv()
    if got is None:
        os._exit(0)
    plan = got[0]["plan"]
    if "fail" in plan:
        channel.send({"op": "failed", **plan["fail"]})
        os._exit(1)
    for number, fd in enumerate(got[1]):
        os.dup2(fd, number)
    os.execv(plan["argv"][0], plan["argv"])
    os._exit(1)


def echo_worker(channel: Channel) -> None:
    while got := channel.recv():
        channel.send({"re": got[0]["id"], "pid": os.getpid()})


def main() -> None:
    exec_root, instance = sys.argv[1:3]
    from pier.logs import pump
    from pier.netd import server as netd

    helpers: dict[str, Callable[[Channel], None]] = {
        "launcher": partial(launcher.main, instance=instance, child_main=child_main),
        "netd": netd.main,
        "pump": pump.main,
        "worker": echo_worker,
    }
    keeper.main(exec_root, instance, helpers)


if __name__ == "__main__":
    main()
