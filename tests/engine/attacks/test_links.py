"""Mount targets, temporary file systems, working folders and files of /etc that an image or another container made into links."""

from pathlib import Path

import pytest

from tests.engine.attacks import attacker
from tests.harness import images
from tests.harness.commands import eventually
from tests.harness.engine import Engine


@pytest.fixture
def canary(engine: Engine) -> Path:
    """A folder of the host with one file, named by hostile links; `engine` checks the rest."""
    folder = Path(engine.roots) / "victim"
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text("of the host\n")
    return folder


def untouched(canary: Path) -> None:
    assert [p.name for p in canary.iterdir()] == ["file"]
    assert (canary / "file").read_text() == "of the host\n"


def hostile(engine: Engine, canary: Path) -> str:
    """An image full of links to the canary: absolute, by `..`, and through /proc/1/root; loaded once."""
    up = "../../../../../../../../.." + str(canary)
    links = {"out": str(canary), "up": up, "magic": f"/proc/1/root{canary}", "cwd": "/proc/self/cwd", "p": "/proc", "loop": "loop"}
    links["etc/file"] = f"{canary}/file"
    etc = {f"etc/{name}": f"{up}/file" for name in ("hosts", "hostname", "resolv.conf")}
    if not engine.api.get("/images/json", filters={"reference": ["hostile"]}):
        attacker.load(engine, "hostile", images.layer({**links, **etc, "dev": "/tmp"}))
        attacker.run(engine, ["true"], {"NetworkMode": "none"}, Image="hostile")
    return "hostile"


@pytest.mark.no_leak_check("loads the image for this file")
def test_the_hostile_image_is_loaded(engine: Engine, canary: Path) -> None:
    hostile(engine, canary)
    untouched(canary)


def test_files_of_etc_that_are_links_are_made_inside(engine: Engine, canary: Path) -> None:
    """The daemon's own /etc/hosts, hostname and resolv.conf over an image's links to a file of the host."""
    code, said = attacker.run(engine, ["sh", "-c", "cat /etc/hosts /etc/hostname; echo evil >> /etc/hosts; :"], Image="hostile")
    assert "of the host" not in said, (code, said)
    untouched(canary)


@pytest.mark.parametrize("target", ["/out/deep/er", "/up/deep/er", "/out", "/up", "/magic/x", "/cwd/x", "/loop/x", "/proc/1/root/x", "/etc/file"])
def test_mounts_onto_links_stay_inside(engine: Engine, canary: Path, target: str) -> None:
    source = Path(engine.roots) / "source"
    source.mkdir(exist_ok=True)
    for host in ({"Binds": [f"{source}:{target}"]}, {"Tmpfs": {target: ""}}):
        code, said = attacker.run(engine, ["sh", "-c", f"touch {target}/made; :"], host, Image="hostile")
        assert code in (-1, 0), (code, said)
        assert code == 0 or target.split("/")[1] in said, said
        untouched(canary)
    assert set(source.iterdir()) <= {source / "made"}


@pytest.mark.parametrize("folder", ["/out/work", "/up/work", "/magic/work", "/loop", "/cwd/work"])
def test_working_folders_through_links_stay_inside(engine: Engine, canary: Path, folder: str) -> None:
    code, said = attacker.run(engine, ["sh", "-c", "pwd; touch made"], Image="hostile", WorkingDir=folder)
    assert code in (-1, 0), (code, said)
    untouched(canary)


@pytest.mark.parametrize("target", ["/proc", "/proc/self", "/sys", "/dev"])
def test_a_tmpfs_over_the_kernels_own_opens_nothing(engine: Engine, target: str) -> None:
    """Whatever the daemon answers, the masks of /proc are there or there is nothing to mask."""
    code, said = attacker.run(
        engine, ["sh", "-c", "head -c1 /proc/kcore | wc -c; cat /proc/sched_debug /proc/timer_list | wc -c"], {"Tmpfs": {target: ""}}
    )
    assert code == -1 or [line for line in said.split() if line.isdigit()] == ["0", "0"], (code, said)


SWAPPER = """
import os
os.chdir('/shared')
os.path.exists('target') or os.mkdir('target')
os.path.lexists('link') or os.symlink('../../../../../../../../../..' + os.environ['VICTIM'], 'link')
open('ready', 'w').close()
while True:
    for old, new in (('target', 'aside'), ('link', 'target'), ('target', 'link'), ('aside', 'target')):
        try:
            os.rename(old, new)
        except OSError:
            pass
"""


def test_a_mount_target_that_another_container_swaps_while_starting(engine: Engine, canary: Path) -> None:
    shared, source = Path(engine.roots) / "shared", Path(engine.roots) / "source2"
    for folder in (shared, source):
        folder.mkdir(exist_ok=True)
    bind = [*attacker.BINDS, f"{shared}:/shared"]
    attacker.start(engine, [*attacker.PYTHON, SWAPPER], {"Binds": bind}, Env=[f"VICTIM={canary}"])
    eventually((shared / "ready").exists, says="the swapper swaps")
    started = 0
    for n in range(10):
        host = {"Binds": [f"{shared}:/vol", f"{source}:/vol/target/deep{n}"], "Tmpfs": {"/vol/target/tmp": ""}}
        code, said = attacker.run(engine, ["sh", "-c", "touch /vol/target/*/made; :"], host)
        started += code == 0
        assert code == 0 or "/vol/target" in said, said
        untouched(canary)
    assert set(source.iterdir()) <= {source / "made"}


def test_the_console_of_a_hostile_dev_is_no_file_of_the_host(engine: Engine, canary: Path) -> None:
    """An image whose /dev is a link elsewhere, with a terminal (CVE-2025-52565): devices are made inside."""
    made = attacker.create(engine, ["sh", "-c", "stat -c %t:%T /dev/null; test -c /dev/console && echo console"], Image="hostile", Tty=True)
    engine.api("POST", f"/containers/{made}/start").ok(204)
    engine.api("POST", f"/containers/{made}/wait").ok()
    said = engine.api("GET", f"/containers/{made}/logs", stdout=True).ok().body
    assert said.split() == [b"1:3", b"console"]
    untouched(canary)


_INSIDE, _PROC = "because it is inside /proc", "because it is not of type proc"


@pytest.mark.parametrize(
    ("place", "why"), [("/proc", _PROC), ("/proc/", _PROC), ("/proc/sys", _INSIDE), ("/proc/version", _INSIDE), ("/p/sys", _INSIDE), ("/p", _INSIDE)]
)
def test_nothing_is_mounted_over_procfs(engine: Engine, canary: Path, place: str, why: str) -> None:
    """CVE-2019-16884: a volume of the image's in the place where the engine would look."""
    source = f"{canary}/file:" if place == "/proc/version" else ""
    engine.pier("run", "--rm", "-v", f"{source}{place}", hostile(engine, canary), "true").fails(125, why)
    assert engine.pier("run", "--rm", "-v", f"{canary}/file:/proc/uptime", "busybox", "cat", "/proc/uptime").ok().line == "of the host"


def test_a_volume_below_sys_gets_nothing_of_the_hosts(engine: Engine) -> None:
    assert engine.pier("run", "--rm", "-v", "/sys/kernel", "busybox", "sh", "-c", "ls /sys/kernel | wc -l").ok().line == "0"
