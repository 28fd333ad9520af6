"""Asking a person for a line, seen or not."""

import os
import select

from pier.cli.session import Cli, CommandError

LIMIT_BYTES = 64 << 10


def ask(cli: Cli, question: str, echo: bool = True) -> str:
    """A line of the terminal on stdin without its end; an end of input counts as the end of the line.

    The question goes to stdout, or to stderr where stdout is no terminal. Without `echo` the terminal shows nothing of what is typed; it is itself
    again whatever happens, signals included: then CommandError with the status that stands for the signal is raised.
    """
    from pier.cli.signals import ENDING, Signals

    write = cli.out if os.isatty(1) else cli.err
    with _Quiet(not echo), Signals(ENDING) as signals:
        write(question)
        line = b""
        while not line.endswith(b"\n") and len(line) < LIMIT_BYTES:
            ready, _, _ = select.select([0, signals.fd], [], [])
            if signals.fd in ready and (caught := signals.take()):
                write("\n")
                raise CommandError("", 128 + caught[0])
            if 0 in ready:
                piece = os.read(0, 4096)
                if not piece:
                    break
                line += piece
    if not echo:
        write("\n")
    return line.decode("utf-8", "replace").rstrip("\r\n")


class _Quiet:
    """The terminal on stdin does not show what is typed, for a `with` block."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted

    def __enter__(self) -> None:
        if self._wanted:
            import termios

            self._before = termios.tcgetattr(0)
            quiet = [*self._before]
            quiet[3] &= ~termios.ECHO
            termios.tcsetattr(0, termios.TCSADRAIN, quiet)

    def __exit__(self, *_: object) -> None:
        if self._wanted:
            import termios

            termios.tcsetattr(0, termios.TCSADRAIN, self._before)
