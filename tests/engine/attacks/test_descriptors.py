"""No descriptor and no folder of the host in the hands of the user's code (CVE-2024-21626)."""

import pytest

from tests.engine.attacks import attacker
from tests.harness.commands import eventually
from tests.harness.engine import Engine

FDS = ["sh", "-c", "ls /proc/$$/fd; pwd; :"]


def test_a_descriptor_as_working_folder_is_refused(engine: Engine) -> None:
    for number in (*range(11), 16, 20):
        code, said = attacker.run(engine, ["sh", "-c", "pwd; ls ../../../../../../.."], WorkingDir=f"/proc/self/fd/{number}")
        assert code == -1 and f"/proc/self/fd/{number}" in said, said


def test_a_descriptor_as_working_folder_of_an_exec_is_refused(engine: Engine) -> None:
    sleeper = attacker.start(engine, ["sleep", "600"])
    for number in range(16):
        code, said = attacker.execute(engine, sleeper, ["cat", "../../../../../../etc/hostname"], WorkingDir=f"/proc/self/fd/{number}")
        assert code in (126, 127, 128) and f"/proc/self/fd/{number}" in said, said


def test_links_to_descriptors_as_working_folder_are_refused(engine: Engine) -> None:
    sleeper = attacker.start(engine, ["sh", "-c", "for n in 3 4 5 6 7 8 9 10 11 12; do ln -s /proc/self/fd/$n /at$n; done; touch /ready; sleep 600"])
    eventually(lambda: attacker.execute(engine, sleeper, ["test", "-e", "/ready"])[0] == 0)
    for number in range(3, 13):
        code, said = attacker.execute(engine, sleeper, ["pwd"], WorkingDir=f"/at{number}")
        assert code in (126, 127, 128), said


@pytest.mark.parametrize("host", [{}, {"Init": True}, {"Privileged": True}], ids=["run", "init", "privileged"])
def test_only_the_three_streams_are_open(engine: Engine, host: dict[str, object]) -> None:
    assert attacker.run(engine, FDS, host) == (0, "0\n1\n2\n/\n")


def test_only_the_three_streams_are_open_with_a_terminal(engine: Engine) -> None:
    made = attacker.create(engine, FDS, Tty=True)
    engine.api("POST", f"/containers/{made}/start").ok(204)
    engine.api("POST", f"/containers/{made}/wait").ok()
    said = engine.api("GET", f"/containers/{made}/logs", stdout=True).ok().body
    assert said.split() == [b"0", b"1", b"2", b"/"]


@pytest.mark.parametrize("config", [{}, {"Tty": True}, {"AttachStdin": True}, {"Privileged": True}, {"User": "alice"}])
def test_only_the_three_streams_are_open_in_an_exec(engine: Engine, config: dict[str, object]) -> None:
    sleeper = attacker.start(engine, ["sleep", "600"])
    code, said = attacker.execute(engine, sleeper, FDS, **config)
    assert (code, said.split()) == (0, ["0", "1", "2", "/"])


def test_a_stream_reopened_leads_to_no_file_of_the_host(engine: Engine) -> None:
    """/proc/self/fd/N of the streams are FIFOs: `..` of them is nothing."""
    for path in ("0/..", "1/..", "1/../../../data", "2/../.."):
        code, said = attacker.run(engine, ["ls", f"/proc/self/fd/{path}"])
        assert code != 0 and "ot a directory" in said, said
