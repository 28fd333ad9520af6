"""The question before something is removed for good."""

import os

from pier.cli.session import Cli


def confirmed(cli: Cli, warning: str) -> bool:
    """Ask on stdout and read one line of stdin; only `y` and `yes` count, an end of input is a no."""
    cli.out(f"{warning} [y/N] ")
    answer = b""
    while not answer.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            break
        answer += byte
    return answer.strip().lower() in (b"y", b"yes")
