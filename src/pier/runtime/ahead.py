"""What a blank child of the pool makes while it waits: the file systems of a default container, detached and in nobody's sight.

Half of the time between a plan and its execve went into them. A plan that wants one of just these options takes it; another
plan makes its own, and what was made ahead vanishes with its descriptor at the execve.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pier.linux import mounts
from pier.runtime import steps_mounts, steps_root
from pier.runtime.child_state import State, StepFailed, filesystem_key

if TYPE_CHECKING:
    from pier.runtime.plan import Plan


_LIKELY = ("oom_score_adj", "filesystem", "dev", "cgroup_v1", "mask", "sysctls")


def likely(plan: "Plan") -> list[list[Any]]:
    """The steps of a default plan that can be made before the container is known, for the launcher's children."""
    return [[step.name, step.arguments] for step in plan.steps if step.name in _LIKELY]


def make(state: State, steps: Sequence[Sequence[Any]]) -> None:
    """In a child of the default shape: make what `likely` names, and what every plan does to namespaces of its own.

    The plan does the latter again, in no time: the code's pages are this process's by then. What fails is left to the plan, which says why.
    """
    try:
        steps_root.leave_host_propagation(state)
        steps_root.private_proc(state)
        steps_root.network(state, loopback=True, interfaces=[])
        for name, arguments in steps:
            if name == "filesystem" and not arguments.get("mode_of_target"):
                _keep(state, arguments["kind"], [(key, value) for key, value in arguments["data"]], arguments["attributes"])
            elif name == "dev":
                contents = [arguments[part] for part in ("attributes", "data", "nodes", "links", "folders")]
                state.dev_ahead = contents, steps_mounts.new_dev(*contents)
            elif name == "cgroup_v1":
                _keep(state, "tmpfs", steps_mounts.CGROUP_TMPFS, arguments["attributes"] & ~mounts.MOUNT_ATTR_RDONLY)
            elif name == "sysctls":
                steps_root.sysctls(state, **arguments)
            elif name == "oom_score_adj":
                steps_root.oom_score_adj(state, **arguments)
            elif name == "mask":
                _keep(state, "tmpfs", steps_mounts.NOTHING, mounts.MOUNT_ATTR_RDONLY)
    except (OSError, StepFailed):
        pass


def _keep(state: State, kind: str, options: mounts.Options, attributes: int) -> None:
    key = filesystem_key(kind, options, attributes)
    state.ahead.setdefault(key, []).append(mounts.new_filesystem(kind, options, attributes))
