"""Progress: the words of a line, and a block of lines that holds together on a screen of any size."""

import fcntl
import os
import pty
import re
import struct
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pier.cli import progress
from pier.cli.progress import Block, bar, line, show
from pier.cli.session import Cli, CommandError


def step(name: str, status: str, **detail: Any) -> dict[str, Any]:
    return {"id": name, "status": status, "progressDetail": detail}


@pytest.mark.parametrize(
    ("detail", "columns", "text"),
    [
        ({}, 200, ""),
        ({"current": 5000}, 200, "     5kB"),
        ({"current": 10, "total": 100}, 80, "     10B/100B"),
        ({"current": 10, "total": 100}, 111, "[=====>                                             ]      10B/100B"),
        ({"current": 10, "total": 100}, 110, "     10B/100B"),
        ({"current": 100, "total": 10}, 200, "[==================================================>]     100B"),
        ({"current": 7, "total": 10, "units": "s"}, 80, "7/10 s"),
        ({"current": 3, "units": "s"}, 80, "3 s"),
        ({"total": 1000}, 80, "      0B/1kB"),
    ],
)
def test_a_bar(detail: dict[str, Any], columns: int, text: str) -> None:
    assert bar(detail, columns) == text


def test_how_long_it_will_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.time, "time", lambda: 1010.0)
    assert bar({"current": 10, "total": 100, "start": 1000}, 80).endswith(" 1m30s")
    assert bar({"current": 50, "total": 100, "start": 1000}, 80).endswith(" 10s")
    assert bar({"current": 100, "total": 100, "start": 1000}, 80).endswith("100B/100B")


def test_a_line_without_a_terminal_has_no_numbers() -> None:
    assert line(step("aaa", "Downloading", current=1, total=2), 0) == "aaa: Downloading"
    assert line({"status": "Digest: x"}, 0) == "Digest: x"


class Screen:
    """As much of a terminal as the block uses: rows that scroll, a cursor, lines that wrap."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.lines: list[list[str]] = [[]]
        self.row = self.column = 0

    def feed(self, text: str) -> None:
        for token in re.findall(r"\x1b\[\d*[A-Z]|.|\n", text, re.DOTALL):
            if found := re.fullmatch(r"\x1b\[(\d*)([ABK])", token):
                count = int(found[1] or 1)
                if found[2] == "A":
                    self.row = max(max(0, len(self.lines) - self.rows), self.row - count)
                elif found[2] == "B":
                    self.row = min(len(self.lines) - 1, self.row + count)
                else:
                    self.lines[self.row] = []
            elif token == "\r":
                self.column = 0
            elif token == "\n":
                self._down()
            else:
                if self.column >= self.columns:
                    self.column = 0
                    self._down()
                here = self.lines[self.row]
                here.extend(" " * (self.column + 1 - len(here)))
                here[self.column] = token
                self.column += 1

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append([])

    def text(self) -> list[str]:
        return ["".join(one).rstrip() for one in self.lines]


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """(the side of the terminal, the side of the program)."""
    outside, inside = pty.openpty()
    yield outside, inside
    os.close(outside)
    os.close(inside)


def resize(fd: int, rows: int, columns: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def seen(outside: int) -> str:
    os.set_blocking(outside, False)
    data = b""
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        try:
            data += os.read(outside, 65536)
        except BlockingIOError:
            if data:
                break
            time.sleep(0.01)
    return data.decode().replace("\r\n", "\n\r")


def drawn(terminal: tuple[int, int], rows: int, columns: int, messages: list[dict[str, Any]]) -> list[str]:
    outside, inside = terminal
    resize(inside, rows, columns)
    show(Cli({}), messages, inside)
    screen = Screen(rows, columns)
    screen.feed(seen(outside))
    return screen.text()


def test_lines_stay_where_they_are(terminal: tuple[int, int]) -> None:
    messages = [
        {"status": "Pulling from library/app", "id": "latest"},
        step("aaa", "Pulling fs layer"),
        step("bbb", "Waiting"),
        step("aaa", "Downloading", current=10, total=100),
        step("bbb", "Downloading", current=5000),
        step("aaa", "Pull complete"),
        {"status": "Digest: x"},
        step("aaa", "again"),
    ]
    text = drawn(terminal, 24, 80, messages)
    assert text == ["latest: Pulling from library/app", "aaa: Pull complete", "bbb: Downloading      5kB", "Digest: x", "aaa: again", ""]


def test_a_long_line_is_cut_and_not_wrapped(terminal: tuple[int, int]) -> None:
    messages = [step("aaa", "x" * 100), step("bbb", "y" * 100), step("aaa", "done"), step("bbb", "z" * 39)]
    assert drawn(terminal, 24, 40, messages) == ["aaa: done", f"bbb: {'z' * 34}", ""]


def test_more_lines_than_the_screen_has(terminal: tuple[int, int]) -> None:
    messages = [step(f"l{number:02}", "begun") for number in range(30)] + [step(f"l{number:02}", "done") for number in range(30)]
    text = drawn(terminal, 10, 80, messages)
    assert text[:30] == [f"l{number:02}: {'done' if number >= 21 else 'begun'}" for number in range(30)]


def test_control_bytes_of_a_registry_do_nothing(terminal: tuple[int, int]) -> None:
    text = drawn(terminal, 24, 80, [step("a\x1b[2J", "b\x07\n\x9bc"), step("a\x1b[2J", "d\r")])
    assert text == ["a�[2J: d�", ""]


def test_a_window_that_changes_its_width(terminal: tuple[int, int]) -> None:
    outside, inside = terminal
    resize(inside, 24, 80)
    block = Block(inside)
    for name in ("aaa", "bbb"):
        block.draw(name, lambda columns, name=name: f"{name}: {columns}")  # type: ignore[misc]
    seen(outside)
    resize(inside, 24, 60)
    block.draw("aaa", lambda columns: f"aaa: new {columns}")
    screen = Screen(24, 60)
    screen.feed(seen(outside))
    assert screen.text() == ["aaa: new 60", "bbb: 60", ""], "the block begins anew below, each line once"


@pytest.mark.parametrize("message", [{"error": "short"}, {"errorDetail": {"message": "long"}, "error": "short"}])
def test_an_error_ends_it(message: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="long" if "errorDetail" in message else "short"):
        show(Cli({}), [{"status": "begun"}, message, {"status": "never"}], 1)
    assert capfd.readouterr().out == "begun\n"


def test_what_is_for_programs_goes_to_them(capfd: pytest.CaptureFixture[str]) -> None:
    got: list[Any] = []
    show(Cli({}), [{"aux": {"ID": "x"}}, {"stream": "Loaded image: a\n"}, {"status": "hidden"}], 1, quiet=True, aux=got.append)
    assert (got, capfd.readouterr().out) == ([{"ID": "x"}], "Loaded image: a\n")
