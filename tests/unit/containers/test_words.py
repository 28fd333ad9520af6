import pytest

from pier.containers import detach, phrases
from pier.containers.listing import command_line
from pier.errors import Invalid


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (61, "About a minute"), (180, "3 minutes"), (3700, "About an hour"),
        (7200, "2 hours"), (90000, "25 hours"), (3 * 86400, "3 days"), (20 * 86400, "2 weeks"), (90 * 86400, "3 months"), (900 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_durations_in_dockers_words(seconds: float, words: str) -> None:
    assert phrases.human_duration(seconds) == words


def test_status() -> None:
    now = 10_000_000_000_000
    assert phrases.status("running", 0, now - 5_000_000_000, 0, now) == "Up 5 seconds"
    assert phrases.status("exited", 3, 0, now - 7_000_000_000, now) == "Exited (3) 7 seconds ago"
    assert phrases.status("created", 0, 0, 0, now) == "Created"
    assert phrases.status("restarting", 1, 0, now - 2_000_000_000, now) == "Restarting (1) 2 seconds ago"


def test_times() -> None:
    assert phrases.rfc3339(0) == "0001-01-01T00:00:00Z"
    assert phrases.rfc3339(1795247364_946060390) == "2026-11-21T07:49:24.94606039Z"
    assert phrases.rfc3339(1795247364_000000000) == "2026-11-21T07:49:24Z"


def test_command_lines() -> None:
    assert command_line("sh", ["-c", "exit 3"]) == "sh -c 'exit 3'"


def test_detach_keys() -> None:
    assert detach.parse("") == b"\x10\x11"
    assert detach.parse("ctrl-a,x,ctrl-@") == b"\x01x\x00"
    for bad in ("ctrl-", "ctrl-ab", "xx", "ctrl-1", "a,,b"):
        with pytest.raises(Invalid, match="Invalid escape keys"):
            detach.parse(bad)
