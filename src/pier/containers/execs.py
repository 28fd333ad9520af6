"""Execs: further processes in a running container."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Awaitable, Callable

from msgspec import UNSET

from pier import trace
from pier.api.models.execs import ExecCreateRequest, ExecInspect, ExecStartRequest, ProcessConfig
from pier.api.stream import frame
from pier.containers import detach, execprocess, streams
from pier.containers.execprocess import Exec
from pier.containers.record import Container
from pier.containers.table import Containers
from pier.errors import Conflict, Internal, Invalid, NotFound, PierError
from pier.http.message import Hijacked
from pier.linux import paths, pidfd
from pier.runtime import users
from pier.runtime.child_state import READ_LIMIT_BYTES
from pier.runtime.supervisor import Exit, StartFailed

_PREFIX = "OCI runtime exec failed: exec failed: unable to start container process: "


def _find(ctx: Containers, exec_id: str) -> Exec:
    found = ctx.execs.get(exec_id)
    if found is None:
        fitting = [e for key, e in ctx.execs.items() if exec_id and key.startswith(exec_id)]
        found = fitting[0] if len(fitting) == 1 else None
    if not isinstance(found, Exec):
        raise NotFound(f"No such exec instance: {exec_id}")
    return found


async def create(ctx: Containers, name: str, request: ExecCreateRequest) -> str:
    """Record an exec; nothing runs yet. Returns its ID. Raises NotFound, Conflict (not running), Invalid."""
    container = ctx.find(name)
    command = [request.cmd] if isinstance(request.cmd, str) else list(request.cmd or [])
    if not command:
        raise Invalid("No exec command specified")
    if not await container.is_running():
        raise Conflict(f"container {container.id} is not running")
    if container.state.paused:
        raise Conflict(f"Container {name} is paused, unpause the container before exec")
    detach.parse(request.detach_keys)
    if request.working_dir and not request.working_dir.startswith("/"):
        raise Invalid(f"the working directory '{request.working_dir}' is invalid, it needs to be an absolute path")
    await _check_user(container, request.user)
    found = Exec(secrets.token_hex(32), container, request, command)
    execprocess.begin(ctx, found)
    register(ctx, found)
    return found.id


def register(ctx: Containers, found: Exec) -> None:
    """An exec is there, and an event says so."""
    ctx.execs[found.id] = found
    found.container.execs.add(found.id)
    ctx.publish(found.container, f"exec_create: {_line(found)}", execID=found.id)


def _line(found: Exec) -> str:
    """The command in events; Docker's have a blank after the first word, also where no other follows."""
    return f"{found.command[0]} {' '.join(found.command[1:])}"


async def _check_user(container: Container, user: str) -> None:
    """Raise Invalid for names that the container's files do not have, as Docker does at create; the child looks them up again."""
    if container.child is None or not any(part and not part.isdigit() for part in user.split(":")):
        return

    def look(pid: int, pidfd_: int) -> None:
        root_fd = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            pidfd.send_signal(pidfd_, 0)  # no other process has that pid by now
            users.resolve(user, (), _read(root_fd, "/etc/passwd"), _read(root_fd, "/etc/group"))
        finally:
            os.close(root_fd)

    try:
        await asyncio.to_thread(look, container.state.pid, container.child.pidfd)
    except users.UserError as problem:
        raise Invalid(str(problem)) from None
    except OSError:
        pass  # it ended, or has no such files: the start of the exec says so


def _read(root_fd: int, path: str) -> bytes:
    try:
        return paths.read_bounded(root_fd, path, READ_LIMIT_BYTES)
    except FileNotFoundError:
        return b""


async def start(ctx: Containers, exec_id: str, request: ExecStartRequest, hijack: Callable[[], Awaitable[Hijacked]] | None) -> None:
    """Run an exec. With `hijack` its streams are the client's connection, else it is detached.

    Raises NotFound, Conflict, and detached also Invalid (the command cannot be executed); with a connection that
    is told on it, as Docker does.
    """
    found = _find(ctx, exec_id)
    if found.running:
        raise Conflict(f"exec command {found.id} is already running")
    if found.started:
        raise Conflict(f"exec command {found.id} has already run")
    container = found.container
    if not container.state.running or container.child is None:
        raise Conflict(f"container {container.id} is not running")
    if container.state.paused:
        raise Conflict(f"Container {container.id} is paused, unpause the container before exec")
    found.started = found.running = True
    connection: Hijacked | None = None
    try:
        try:
            connection = await hijack() if hijack is not None else None
        except (ConnectionError, OSError) as problem:
            raise _failed(ctx, found, problem) from None
        await launch(ctx, found, request, connection)
    except PierError as problem:
        if connection is None:
            raise
        line = f"{problem}\r\n".encode()
        with contextlib.suppress(OSError):  # the client has gone, or its connection with the pump that was
            await connection.head_is_read()
            await connection.send(line if found.request.tty else frame(1, line))
    finally:
        if connection is not None:
            connection.sock.close()


async def launch(ctx: Containers, found: Exec, request: ExecStartRequest, connection: Hijacked | None, framed: bool = True) -> None:
    """Let the command of an exec that is marked as started run; returns when it does. `framed`: the connection tells stdout from stderr.

    Raises Invalid, Internal with Docker's text; the exec is over then. Its event says, as Docker's, that it is about to start.
    """
    ctx.publish(found.container, f"exec_start: {_line(found)}", execID=found.id)
    try:
        async with found.starting:
            await _run(ctx, found, request, connection, framed)
    except (PierError, ConnectionError, OSError) as problem:
        raise _failed(ctx, found, problem) from None


def _failed(ctx: Containers, found: Exec, problem: Exception) -> PierError:
    """An exec whose start failed is over; what to say of it."""
    found.running = False
    found.exit_code = problem.exit_code if isinstance(problem, StartFailed) else 126
    found.container.execs.discard(found.id)
    found.over.set()
    _expire(ctx, found)
    text = _PREFIX + (problem.message if isinstance(problem, StartFailed) else str(problem))
    return (Invalid if found.exit_code in (126, 127) else Internal)(text)


async def _run(ctx: Containers, found: Exec, request: ExecStartRequest, connection: Hijacked | None, framed: bool) -> None:
    wanted = found.request
    terminal, handle = wanted.tty, None
    process = await execprocess.take(ctx, found, request.console_size or wanted.console_size or [0, 0])
    found.child = child = process.child
    with process.undo as undo, process.streams:
        trace.point("exec.run")
        try:
            await asyncio.wait_for(child.run(process.plan, process.fds), execprocess.PATIENCE_S)
        except TimeoutError:
            raise Internal(f"the exec did not start within {execprocess.PATIENCE_S} s") from None
        if connection is not None:
            await connection.head_is_read()
            handle = await ctx.pump.attach(
                found.id,
                connection.sock.fileno(),
                stdin=wanted.attach_stdin,
                stdout=wanted.attach_stdout or terminal,
                stderr=wanted.attach_stderr,
                multiplexed=framed and not terminal,
                detach_keys=detach.parse(wanted.detach_keys) if terminal else b"",
                initial=connection.initial,
            )
            handle.done.add_done_callback(lambda done: _detached(ctx, found, done))
        ends = process.ends
        try:
            if terminal:
                await streams.open_console(ctx, found.id, child.console_fd, None, True)
            else:
                await ctx.pump.open(found.id, stdin=ends.stdin, stdout=ends.stdout, stderr=ends.stderr, log=None, stdin_once=True)
            if handle is not None and handle.done.done() and handle.done.result() == "pump-lost":
                raise Internal("the pump died when it was given the streams: what the command says would be lost, it was ended")
        except BaseException:
            ctx.spawn(streams.finish(ctx, found.id), f"forget the streams of {found.id[:12]}")  # the keeper may have them already
            raise
        undo.pop_all()
    found.pid = child.pid


def abandon(ctx: Containers, found: Exec) -> None:
    """An exec whose start was broken off: nobody asks for it any more."""
    found.running = False
    found.container.execs.discard(found.id)
    found.over.set()
    ctx.execs.pop(found.id, None)


async def ended(ctx: Containers, exit: Exit) -> None:
    """Record the end of an exec; its client sees the end of its streams after that, so that inspect has the code."""
    found = ctx.execs.get(exit.key)
    if isinstance(found, Exec):
        if await found.discarded.took(ctx.supervisor, exit):
            return
        found.discarded.ended.add(exit.pid)
        async with found.starting:
            if found.ahead is not None and found.ahead.child.pid == exit.pid:
                execprocess.drop(ctx, found)  # somebody killed it before its start
            found.discarded.ended.discard(exit.pid)
            if await found.discarded.took(ctx.supervisor, exit):
                return
        if found.child is None or found.child.pid != exit.pid:
            await ctx.supervisor.acknowledge(exit.key, exit.pid)
            return
        was_running = found.running and found.pid
        if found.exit_code is None:
            found.exit_code = exit.code
        found.running = False
        found.container.execs.discard(found.id)
        await streams.close(ctx, exit.key)
        if was_running:
            ctx.publish(found.container, "exec_die", execID=found.id, exitCode=str(exit.code))
        if found.child is not None:
            found.child.close()
            found.child = None
        found.over.set()
        _expire(ctx, found)
    await ctx.supervisor.acknowledge(exit.key, exit.pid)


def _expire(ctx: Containers, found: Exec) -> None:
    asyncio.get_running_loop().call_later(found.keep_s, ctx.execs.pop, found.id, None)


def _detached(ctx: Containers, found: Exec, done: "asyncio.Future[str]") -> None:
    if not done.cancelled() and done.exception() is None and done.result() == "detached":
        ctx.publish(found.container, "exec_detach", execID=found.id)


async def inspect(ctx: Containers, exec_id: str) -> ExecInspect:
    """The answer of GET /exec/{id}/json. Raises NotFound."""
    found = _find(ctx, exec_id)
    wanted = found.request
    return ExecInspect(
        id=found.id,
        running=found.running,
        exit_code=found.exit_code,
        process_config=ProcessConfig(
            tty=wanted.tty, entrypoint=found.command[0], arguments=found.command[1:], privileged=wanted.privileged, user=wanted.user or UNSET
        ),
        open_stdin=wanted.attach_stdin,
        open_stderr=wanted.attach_stderr,
        open_stdout=wanted.attach_stdout,
        can_remove=False,
        container_id=found.container.id,
        detach_keys=wanted.detach_keys,
        pid=found.pid,
    )


async def resize(ctx: Containers, exec_id: str, height: int, width: int) -> None:
    """Set rows and columns of an exec's terminal. Raises NotFound, Conflict (it does not run)."""
    found = _find(ctx, exec_id)
    if not found.running:
        raise Conflict(f"exec {found.id} is not running")
    if found.request.tty:
        for _ in range(100):
            if found.pid:
                break
            await asyncio.sleep(0.01)
        await ctx.pump.resize(found.id, height, width)
