"""A bind source on a mount that hangs: a FUSE whose server never answers."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.faults import steps
from tests.harness.commands import eventually
from tests.harness.engine import Engine, Namespaces

SERVER = """
import ctypes, os, sys, time
fd = os.open("/dev/fuse", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
if libc.mount(b"never", sys.argv[1].encode(), b"fuse", 0, options):
    sys.exit(os.strerror(ctypes.get_errno()))
print("mounted", flush=True)
time.sleep(600)
"""


@pytest.fixture
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, str]]:
    """An engine in whose namespaces a folder hangs whoever looks into it, and that folder."""
    folder = tmp_path_factory.mktemp("hangs")
    target, log = folder / "mount", folder / "log"
    target.mkdir()
    namespaces = Namespaces()
    try:
        server = namespaces.spawn([sys.executable, "-c", SERVER, str(target)], {"PATH": "/usr/bin:/bin"}, log)
        eventually(lambda: "mounted" in log.read_text() or namespaces.exit_code(server) is not None, says="the mount")
        if "mounted" not in log.read_text():
            pytest.skip(f"no FUSE here: {log.read_text()}")
        with Engine(namespaces=namespaces) as engine:
            engine.load_busybox()
            yield engine, str(target)
            steps.kill(server)  # whoever hangs is let go
            steps.remove_all(engine)
            engine.stop(signal.SIGQUIT)
    finally:
        namespaces.close()


def test_a_bind_source_that_hangs_fails_in_ten_seconds_and_nobody_else_waits(hanging: tuple[Engine, str]) -> None:
    engine, target = hanging
    folder = Path(target).parent
    (folder / "link").symlink_to(target)
    made = [steps.create(engine, "true") for _ in range(3)]
    answers = []
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Binds": [f"{target}/inside:/x"]}}
    caller = threading.Thread(target=lambda: answers.append(engine.api("POST", "/containers/create", body, name="hangs")))
    begun = time.monotonic()
    caller.start()
    for container in made:
        engine.api("POST", f"/containers/{container}/start", timeout_s=5).ok(204)
        assert steps.exit_code(engine, container) == 0
    assert time.monotonic() - begun < 8 and not answers, "others had to wait"
    caller.join(20)
    assert time.monotonic() - begun < 14
    assert f"bind source {target}/inside does not answer within 10 s" in steps.error_of(answers[0])
    assert engine.api("GET", "/containers/hangs/json").status == 404
    # `lstat` of a link does not follow it: what hangs is the mount at the start
    steps.create(engine, "true", name="later", Binds=[f"{folder}/link:/x"])
    begun = time.monotonic()
    text = steps.error_of(engine.api("POST", "/containers/later/start"))
    assert time.monotonic() - begun < 14 and "stood still for 10 s" in text, text
    assert steps.listed(engine, engine.api.get("/containers/later/json")["Id"]) == "created"
    assert engine.stop() == 0
    engine.start()
    engine.api("DELETE", "/containers/later").ok(204)
