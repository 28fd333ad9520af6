"""Users that hostile files describe, and capabilities that nobody gave."""

import re

import pytest

from tests.engine.attacks import attacker
from tests.harness.commands import eventually
from tests.harness.engine import Engine

DEFAULT = "00000000a80425fb"
NONE = "0" * 16
STATUS = ["cat", "/proc/self/status"]

# Each makes /etc/passwd or /etc/group of a running container hostile; the exec afterwards must answer quickly, and as if the file were not there.
FILES = {
    "endless": "rm /etc/passwd; ln -s /dev/zero /etc/passwd",
    "a FIFO": "rm /etc/passwd; mkfifo /etc/passwd",
    "a folder": "rm /etc/passwd; mkdir /etc/passwd",
    "a loop": "rm /etc/passwd; ln -s passwd /etc/passwd",
    "the memory of a process": "rm /etc/passwd; ln -s /proc/self/mem /etc/passwd",
    "huge": "head -c 6000000 /dev/zero >> /etc/passwd",
    "one line without an end": "head -c 3000000 /dev/zero | tr '\\0' x > /etc/passwd",
    "a group without an end": "(echo -n x:x:5:; head -c 3000000 /dev/zero | tr '\\0' ,) > /etc/group",
}


@pytest.mark.parametrize("kind", FILES)
def test_hostile_user_files_hold_up_nobody(engine: Engine, kind: str) -> None:
    sleeper = attacker.start(engine, ["sleep", "600"])
    assert attacker.execute(engine, sleeper, ["sh", "-c", FILES[kind]])[0] == 0
    for user in ("nobody", "nosuch", "1234", "1234:nosuch"):
        code, said = attacker.execute(engine, sleeper, ["id", "-u"], User=user)
        assert (code, said) in ((0, "1234\n"), (0, "65534\n")) or "passwd" in said or "group" in said, (user, code, said)
    assert attacker.ping_s(engine) < 2
    stopped = engine.api("POST", f"/containers/{sleeper}/stop", t=0).status
    assert stopped == 204
    code, said = engine.api("POST", f"/containers/{sleeper}/start").status, ""
    assert code in (204, 500, 400), said  # with its own user root, or a refusal that names the file


NOBODY = (
    ("nosuch", "unable to find user nosuch"),
    ("root:nosuch", "unable to find group nosuch"),
    ("1000:nosuch", "unable to find group nosuch"),
    ("4294967295", "range"),
    ("4294967296", "range"),
    ("-1", "unable to find user -1"),
    ("99999999999999999999999", "unable to find user"),
    ("root\n", "unable to find user"),
    ("0:4294967295", "range"),
)


def test_a_user_that_is_nobody_is_refused_by_name(engine: Engine) -> None:
    for user, text in NOBODY:
        code, said = attacker.run(engine, ["id"], User=user)
        assert code == -1 and text in said, (user, code, said)


def capabilities(text: str) -> dict[str, str]:
    return dict(re.findall(r"^Cap(\w+):\s+(\w+)$", text, re.MULTILINE))


def expected(permitted: str, bounding: str = DEFAULT) -> dict[str, str]:
    return {"Inh": NONE, "Prm": permitted, "Eff": permitted, "Bnd": bounding, "Amb": NONE}


def test_capabilities_are_neither_inheritable_nor_ambient(engine: Engine) -> None:
    assert capabilities(attacker.run(engine, STATUS)[1]) == expected(DEFAULT)
    assert capabilities(attacker.run(engine, STATUS, User="1000")[1]) == expected(NONE)
    assert capabilities(attacker.run(engine, STATUS, {"CapAdd": ["SYS_ADMIN"]}, User="1000")[1]) == expected(NONE, "00000000a82425fb")
    sleeper = attacker.start(engine, ["sleep", "600"])
    assert capabilities(attacker.execute(engine, sleeper, STATUS)[1]) == expected(DEFAULT)
    assert capabilities(attacker.execute(engine, sleeper, STATUS, User="alice")[1]) == expected(NONE)
    unprivileged = attacker.start(engine, ["sleep", "600"], {"CapDrop": ["ALL"]}, User="1000")
    assert capabilities(attacker.execute(engine, unprivileged, STATUS)[1]) == expected(NONE, NONE)
    assert capabilities(attacker.execute(engine, unprivileged, STATUS, User="0")[1]) == expected(NONE, NONE)


def test_a_setuid_file_gives_what_the_container_may_and_no_more(engine: Engine) -> None:
    program = "print(open('/proc/self/status').read())"
    copy = f"cp {attacker.PYTHON[0]} /tmp/raised && chmod 4755 /tmp/raised && touch /ready; sleep 600"
    for host, wanted in (
        ({}, expected(DEFAULT)),
        ({"SecurityOpt": ["no-new-privileges"]}, expected(NONE)),
        ({"CapDrop": ["ALL"]}, expected(NONE, NONE)),
    ):
        made = attacker.start(engine, ["sh", "-c", copy], {"Binds": attacker.BINDS, **host})
        eventually(lambda made=made: attacker.execute(engine, made, ["test", "-e", "/ready"])[0] == 0, says="the copy")  # type: ignore[misc]
        code, said = attacker.execute(engine, made, ["/tmp/raised", "-I", "-S", "-c", program], User="1000")
        assert code == 0, said
        assert capabilities(said) == wanted
