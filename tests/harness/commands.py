"""Running a program and keeping all that it said, and waiting for something to become true."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

LIMIT_S = 60.0
T = TypeVar("T")


@dataclass(frozen=True)
class Done:
    """What a program left: its arguments, exit code, and both outputs as text."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    def ok(self) -> "Done":
        """Itself; AssertionError with everything it said unless it ended with 0."""
        assert self.code == 0, f"{' '.join(self.argv)}: exit code {self.code}\nstdout: {self.out}\nstderr: {self.err}"
        return self

    def fails(self, code: int, *texts: str) -> "Done":
        """Itself; AssertionError unless it ended with `code` and said each of the texts on stderr or stdout."""
        assert self.code == code, f"{' '.join(self.argv)}: exit code {self.code}, not {code}\nstdout: {self.out}\nstderr: {self.err}"
        for text in texts:
            assert text in self.err + self.out, f"{' '.join(self.argv)} did not say {text!r}\nstdout: {self.out}\nstderr: {self.err}"
        return self

    @property
    def line(self) -> str:
        """stdout without the white space around it."""
        return self.out.strip()


def run(argv: Sequence[str | os.PathLike[str]], env: Mapping[str, str] | None = None, stdin: bytes | None = None, limit_s: float = LIMIT_S) -> Done:
    """Run to the end; stdin is empty unless given. AssertionError with what it had said when it outlives the limit."""
    words = tuple(map(str, argv))
    source = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    try:
        done = subprocess.run(words, env=dict(env) if env is not None else None, capture_output=True, timeout=limit_s, **source)  # type: ignore[call-overload]
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"{' '.join(words)} did not end in {limit_s} s\nstdout: {late.stdout!r}\nstderr: {late.stderr!r}") from None
    return Done(words, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def eventually(what: Callable[[], T], limit_s: float = 20.0, says: str = "") -> T:
    """Ask until the answer is true, every 20 ms; returns that answer. AssertionError with the last answer at the limit."""
    end = time.monotonic() + limit_s
    while not (answer := what()):
        assert time.monotonic() < end, f"{says or what}: still {answer!r} after {limit_s} s"
        time.sleep(0.02)
    return answer
