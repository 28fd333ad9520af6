"""The worker process: parses what strangers made, in a child per job that can do nothing else.

The worker itself only waits: it reads requests from the daemon's channel, forks a child for each, and looks after it. The
child gives up what it does not need (confinement), has the job's descriptors and the channel to answer on, and ends; its
memory goes with it. Closing the channel kills the child and ends the worker: that is how the daemon gets rid of a
job that hangs. A child that dies without an answer is answered for.
"""

import gc
import os
import select
import signal
import socket
import sys
import traceback

from pier.archive import confinement, jobs
from pier.archive.refusal import BadArchive
from pier.ipc.channel import MAX_MESSAGE_BYTES, Channel, Message

_ANSWERED = 0


def main(channel: "Channel | int") -> None:
    """Serve requests until the channel closes: an ipc.Channel, or the descriptor of its socket. One job at a time."""
    if isinstance(channel, int):
        channel = Channel(socket.socket(fileno=channel))
    confinement.system_call_filter()
    gc.collect()
    gc.freeze()
    try:
        got = channel.recv()
        while got is not None:
            got = _serve(channel, *got)
    except (OSError, ValueError):
        return


def _serve(channel: Channel, message: Message, fds: list[int]) -> "tuple[Message, list[int]] | None":
    """Run one job in a child; returns the next request, None when the channel closed."""
    pid = os.fork()
    if pid == 0:
        _child(channel, message, fds)
    for fd in fds:
        os.close(fd)
    pidfd = os.pidfd_open(pid)
    following: tuple[Message, list[int]] | None = None
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(channel.fileno(), select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if pidfd in ready:
                _ended(channel, message, pid)
                return following or channel.recv()
            got = channel.recv()
            if got is None:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return None
            other, extra = got
            if "id" in other:
                # The daemon has the child's answer already, and is quicker than the child's end.
                following = got
                continue
            for fd in extra:
                os.close(fd)
            if other.get("op") == "cancel" and other.get("job") == message.get("job"):
                os.kill(pid, signal.SIGKILL)
    finally:
        os.close(pidfd)


def _ended(channel: Channel, message: Message, pid: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != _ANSWERED:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        channel.send({"re": message.get("id"), "error": {"message": f"the worker's job {message.get('op')} {how}", "kind": "died"}})


def _child(channel: Channel, message: Message, fds: list[int]) -> None:
    """The job, in the forked child: never returns."""
    code = 1
    try:
        job = message.get("job")
        answer: Message = {"re": message.get("id")}

        def say(fields: Message) -> None:
            channel.send({"op": "progress", "job": job, **fields})

        try:
            confinement.enter(message.get("op", ""), message.get("kind", ""), fds, channel.fileno())
            answer |= jobs.run(message.get("op", ""), message, fds, say)
            if jobs.rough_size(answer) > MAX_MESSAGE_BYTES - 4096:
                raise BadArchive("", "its documents are too large together")
        except BaseException as error:
            fields = jobs.error_fields(error)
            if fields["kind"] == "bug":
                traceback.print_exc()
                sys.stderr.flush()
            answer = {"re": message.get("id"), "error": fields}
        channel.send(answer)
        code = _ANSWERED
    finally:
        os._exit(code)
