"""An exec's request -> the plan of its process. Pure."""

from pier.api.models.execs import ExecCreateRequest
from pier.containers import links, security
from pier.containers.record import Container
from pier.containers.spec import environment, rlimits
from pier.containers.table import Containers
from pier.containers.volumes import counted
from pier.oci.runtime_spec import Process
from pier.runtime import defaults
from pier.runtime.plan import ExecExtras, Plan, StdioSetup, exec_plan


def build(ctx: Containers, container: Container, wanted: ExecCreateRequest, command: list[str], streams: list[int | None], size: list[int]) -> Plan:
    """The plan of an exec, whose child is born in all of the container's namespaces and sees nothing of the host.

    `streams` are the places of stdin, stdout and stderr among the descriptors that are handed over with the plan;
    `size` is rows and columns of its terminal. Raises Invalid.
    """
    record, host = container.record, container.record.host
    privileged = wanted.privileged or host.privileged
    options = security.parse(host.security_opt or [], host.privileged)
    names = defaults.tweak_capabilities(tuple(host.cap_add or ()), tuple(host.cap_drop or ()), privileged)
    process = Process(
        terminal=wanted.tty,
        args=tuple(command),
        env=_environment(ctx, container, wanted),
        cwd=wanted.working_dir or record.config.working_dir or "/",
        capabilities=defaults.capability_sets(names),
        rlimits=rlimits(host),
        no_new_privileges=options.no_new_privileges,
        apparmor_profile=ctx.profiles.apparmor(options, privileged),
        oom_score_adj=host.oom_score_adj,
        selinux_label=record.process_label,
    )
    rows, columns = size if len(size) == 2 else (0, 0)
    extras = ExecExtras(
        stdio=StdioSetup(terminal=wanted.tty, rows=rows, cols=columns, stdin=streams[0], stdout=streams[1], stderr=streams[2]),
        user=wanted.user or record.config.user,
        groups=tuple(host.group_add or ()) if not wanted.user else (),
        keyring=container.id,
        seccomp=ctx.profiles.seccomp(options, privileged, names),
        counted=not privileged and counted(ctx, record),
    )
    return exec_plan(process, extras, ctx.facts)


def _environment(ctx: Containers, container: Container, wanted: ExecCreateRequest) -> tuple[str, ...]:
    """The container's environment with the exec's over it; TERM only where the exec has a terminal."""
    given = {variable.partition("=")[0] for variable in wanted.env or []}
    linked = links.environment(ctx, container.record) if container.record.host.links else ()
    base = [v for v in environment(container.record, linked) if v.partition("=")[0] not in given and (wanted.tty or v != "TERM=xterm")]
    if wanted.tty and "TERM" not in given and not any(v.startswith("TERM=") for v in base):
        base.append("TERM=xterm")
    return (*base, *(variable for variable in wanted.env or [] if "=" in variable))
