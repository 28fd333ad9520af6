"""The folder of a start: its FIFOs, and the note of the process that runs."""

import os
from pathlib import Path

import pytest

from pier.logs import fifos


@pytest.mark.parametrize(("terminal", "names"), [(False, {"stdin", "stdout", "stderr"}), (True, set())])
def test_what_is_there_until_it_is_removed(tmp_path: Path, terminal: bool, names: set[str]) -> None:
    (tmp_path / "io").mkdir()
    made = fifos.make(tmp_path, "c", stdin=True, terminal=terminal)
    assert set(os.listdir(made.folder)) == names and fifos.noted_run(tmp_path, "c") is None
    fifos.note_run(tmp_path, "c", 17, 4242, 1_700_000_000_123_456_789)
    assert fifos.noted_run(tmp_path, "c") == (17, 4242, 1_700_000_000_123_456_789)
    assert fifos.find(tmp_path, "c") == made
    made.remove()
    assert os.listdir(tmp_path / "io") == [] and fifos.noted_run(tmp_path, "c") is None
    made.remove()


def test_the_next_start_has_no_note_of_the_last(tmp_path: Path) -> None:
    fifos.make(tmp_path, "c", stdin=False, terminal=False)
    fifos.note_run(tmp_path, "c", 17, 4242, 1)
    fifos.make(tmp_path, "c", stdin=False, terminal=False)
    assert fifos.noted_run(tmp_path, "c") is None


def test_a_note_that_is_none(tmp_path: Path) -> None:
    made = fifos.make(tmp_path, "c", stdin=False, terminal=False)
    os.symlink("nonsense", os.path.join(made.folder, "ran"))
    assert fifos.noted_run(tmp_path, "c") is None
