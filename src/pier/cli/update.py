"""`pier update`: change limits and the restart policy of containers."""

from pier.cli import container_values as values
from pier.cli.mount_values import mount
from pier.cli.session import Cli, CommandError, each
from pier.client.session import segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Flag, Options

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
SHORT = "Update configuration of one or more containers"
ALIASES = ("container update", "update")
FLAGS: "tuple[Flag, ...]" = (
    ("blkio-weight", "", "uint16", "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)"),
    ("cpu-period", "", "int", "Limit CPU CFS (Completely Fair Scheduler) period"),
    ("cpu-quota", "", "int", "Limit CPU CFS (Completely Fair Scheduler) quota"),
    ("cpu-rt-period", "", "int", "Limit the CPU real-time period in microseconds"),
    ("cpu-rt-runtime", "", "int", "Limit the CPU real-time runtime in microseconds"),
    ("cpu-shares", "c", "int", "CPU shares (relative weight)"),
    ("cpus", "", "decimal", "Number of CPUs"),
    ("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)"),
    ("cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)"),
    ("memory", "m", "bytes", "Memory limit"),
    ("memory-reservation", "", "bytes", "Memory soft limit"),
    ("memory-swap", "", "bytes", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
    ("mount-add", "", "mount", "Attach a filesystem mount to the container, running or not (Pier only)"),
    ("mount-rm", "", "list", "Take the mount at this path away (Pier only)"),
    ("pids-limit", "", "int", "Tune container pids limit (set -1 for unlimited)"),
    ("publish-add", "", "list", "Publish a port, of a running container too (Pier only)"),
    ("publish-rm", "", "list", "Withdraw a published port (Pier only)"),
    ("restart", "", "string", "Restart policy to apply when a container exits"),
)
LATER = frozenset(["blkio-weight", "cpu-rt-period", "cpu-rt-runtime"])
PARSERS = {
    "cpus": values.decimal_cpus,
    "memory": values.memory,
    "mount-add": mount,
    "memory-reservation": values.memory,
    "memory-swap": values.memory_swap,
}
ARGS = (1, None)


def _ports(options: "Options") -> "dict[str, Any]":
    """The body of a change of ports, {} for none. Raises CommandError with Docker's texts."""
    if not options.given & {"publish-add", "publish-rm"}:
        return {}
    from pier.cli.port_values import published

    try:
        return {key: published(options.many(flag))[1] for key, flag in (("Add", "publish-add"), ("Remove", "publish-rm"))}
    except ValueError as problem:
        raise CommandError(str(problem)) from None


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Update each; prints the names."""
    if not options.given:
        raise CommandError("you must provide one or more flags when using this command")
    try:
        policy = values.restart_policy(options.text("restart"))
    except ValueError as problem:
        raise CommandError(str(problem)) from None
    body = {
        "CpuShares": options.number("cpu-shares"),
        "Memory": options.values["memory"] or 0,
        "NanoCpus": options.values["cpus"] or 0,
        "CpuPeriod": options.number("cpu-period"),
        "CpuQuota": options.number("cpu-quota"),
        "CpusetCpus": options.text("cpuset-cpus"),
        "CpusetMems": options.text("cpuset-mems"),
        "MemoryReservation": options.values["memory-reservation"] or 0,
        "MemorySwap": options.values["memory-swap"] or 0,
        "PidsLimit": options.number("pids-limit") if "pids-limit" in options.given else None,
        "RestartPolicy": policy,
    }

    mounts, ports = {"Add": options.many("mount-add"), "Remove": options.many("mount-rm")}, _ports(options)

    def act(name: str) -> str:
        if mounts["Add"] or mounts["Remove"]:
            cli.client().post(f"/pier/containers/{segment(name)}/mounts", body=mounts)
        if ports:
            cli.client().post(f"/pier/containers/{segment(name)}/ports", body=ports)
        if not options.given - {"mount-add", "mount-rm", "publish-add", "publish-rm"}:
            return name
        for warning in cli.client().post(f"/containers/{name}/update", body=body)["Warnings"] or ():
            cli.err(f"{warning}\n")
        return name

    return each(cli, args, act)
