"""What kernels without a feature get instead: the same smoke over each fallback, forced by PIER_FEATURES on this kernel.

The container must see the same thing in every row; that the fallback was really taken is asked of the daemon where it tells.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import warm_up
from tests.harness import images, leaks
from tests.harness.canary import Canary
from tests.harness.commands import eventually
from tests.harness.engine import Engine

WITHOUT = [
    "-erofs", "-erofs_file", "-overlay_fd", "-overlay_append", "-mount_setattr",
    "-erofs_file,-overlay_fd,-overlay_append,-mount_setattr", "-erofs,-overlay_fd,-overlay_append,-mount_setattr",
]  # fmt: skip


@pytest.fixture(scope="module", params=WITHOUT)
def old(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A daemon that does without; with an image of three layers that hide things of each other."""
    with Engine(env={"PIER_FEATURES": request.param}) as engine:
        warm_up(engine)
        whiteouts(engine)
        sh(engine, "true", image="whiteouts")  # an image's first container makes what all of its containers share
        Canary.start(engine)  # also keeps the bridge up
        eventually(lambda: is_quiet(engine), says="pool and janitor are through")
        yield engine


@pytest.fixture
def engine(old: Engine, request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.node.get_closest_marker("no_leak_check"):
        yield old
        return
    before, before_it = leaks.snapshot(old), set(old.containers())
    yield old
    for container in set(old.containers()) - before_it:
        old.api("DELETE", f"/containers/{container}", force=True)
    left = leaks.settled(old, before)
    assert not left, "left behind:\n  " + "\n  ".join(left)


def is_quiet(engine: Engine) -> bool:
    before = leaks.snapshot(engine)
    time.sleep(0.5)
    return leaks.snapshot(engine) == before


def whiteouts(engine: Engine) -> None:
    lower = images.layer({"a": 0o755, "a/gone": b"1", "a/kept": b"2", "d": 0o755, "d/old": b"3", "f": b"4", "turned": 0o755, "turned/x": b"5"})
    upper = images.layer({"a": 0o755, "a/.wh.gone": b"", "d": 0o750, "d/.wh..wh..opq": b"", "d/new": b"6", ".wh.f": b"", "turned": b"a file"})
    path = engine.roots / "whiteouts.tar"
    images.docker_archive(path, "whiteouts:latest", [images.busybox_layer(), lower, upper])
    engine.pier("load", "-i", str(path)).ok()
    path.unlink()


def sh(engine: Engine, script: str, *options: str, image: str = "busybox") -> str:
    return engine.pier("run", "--rm", *options, image, "sh", "-c", script).ok().line


@pytest.mark.no_leak_check  # nothing runs here
def test_the_kind_of_layer_is_what_was_left(engine: Engine) -> None:
    without = engine.extra_env["PIER_FEATURES"].split(",")
    said = dict(engine.api.get("/info")["DriverStatus"])["Layers"]
    if "-erofs" in without:
        assert said == "unpacked: PIER_FEATURES has -erofs"
    elif said.startswith("erofs"):
        assert ("over loop devices" in said) == ("-erofs_file" in without)
        assert ("where it is attached only" in said) == bool({"-overlay_fd", "-overlay_append"} & set(without))
    else:
        assert said.startswith("unpacked: ")  # a kernel that cannot, or a machine without loop devices


def test_commit_diff_and_squash(engine: Engine) -> None:
    made = engine.pier("run", "-d", "whiteouts", "sh", "-c", "echo x > /a/new; rm /d/new; sleep 60").ok().line
    eventually(lambda: engine.pier("diff", made).ok().out == "C /a\nA /a/new\nC /d\nD /d/new\n", says="it has written")
    engine.pier("commit", made, "committed").ok()
    engine.pier("image", "squash", "committed", "squashed").ok()
    for image in ("committed", "squashed"):
        assert sh(engine, "cat /a/new /a/kept /turned; ls /a /d; ls /f 2>&1 | grep -c 'No such'", image=image) == "x\n2a file/a:\nkept\nnew\n\n/d:\n1"
    assert engine.pier("image", "diff", "committed", "squashed").ok().out.count("\n") == 1
    engine.pier("rm", "-f", made).ok()
    engine.pier("rmi", "committed", "squashed").ok()
    engine.restart()  # which collects the lists of layers of containers that are gone, the one that the fixture made with them
    sh(engine, "true", image="whiteouts")


def test_run_and_exec(engine: Engine) -> None:
    assert sh(engine, "echo $((6*7)); echo x > /new; cat /new; rm /bin/vi; ls /bin/vi 2>&1 | grep -c 'No such'") == "42\nx\n1"
    container = engine.pier("run", "-d", "busybox", "sleep", "60").ok().line
    assert engine.pier("exec", container, "sh", "-c", "echo a > /f; cat /f /proc/1/comm").ok().out == "a\nsleep\n"
    engine.pier("exec", container, "sh", "-c", "exit 9").fails(9)
    assert engine.pier("exec", container, "cat", "/bin/vi").ok().out  # another container's removal is not this one's


def test_whiteouts_hide_what_is_below(engine: Engine) -> None:
    script = "ls -d /a/* /d/* /f 2>/dev/null; cat /turned; stat -c %a /d; ls -a /a | grep -c '[.]wh' || true"
    assert sh(engine, script, image="whiteouts").split() == ["/a/kept", "/d/new", "a", "file750", "0"]
    script = "rm -r /d; mkdir /d; ls /d; echo again > /a/gone; cat /a/gone; rm /a/kept; ls /a"
    assert sh(engine, script, image="whiteouts").split() == ["again", "gone"]


def test_a_read_only_root(engine: Engine) -> None:
    script = "(touch /x; touch /etc/x; touch /dev/shm/y && echo shm; touch /t/z && echo tmpfs) 2>&1"
    out = sh(engine, script, "--read-only", "--tmpfs", "/t:size=64k,mode=1770")
    assert out.count("Read-only file system") == 2 and out.split()[-2:] == ["shm", "tmpfs"]
    script = "stat -c %a /t; grep ' /t tmpfs' /proc/mounts; head -c 100000 /dev/zero > /t/big 2>&1 || echo full"
    out = sh(engine, script, "--tmpfs", "/t:size=64k,mode=1770")
    assert "1770" in out and "size=64k" in out and "nosuid,nodev,noexec" in out and "full" in out


def test_binds(engine: Engine) -> None:
    """Read-only goes for what is mounted below, too, where the kernel can; where it cannot, the bind's own mount at least."""
    source = engine.roots / "source"
    (source / "below").mkdir(parents=True)
    (source / "file").write_text("host\n")
    script = "cat /b/file; echo new > /b/made && echo wrote; cat /c/file; (echo no > /c/made) 2>&1 | grep -c Read-only; cat /etc/one"
    one = engine.roots / "one"
    one.write_text("single\n")
    options = ("-v", f"{source}:/b", "-v", f"{source}:/c:ro", "-v", f"{one}:/etc/one:ro")
    assert sh(engine, script, *options).split() == ["host", "wrote", "host", "1", "single"]
    assert (source / "made").read_text() == "new\n"
    assert os.listdir(source / "below") == []


def test_what_is_masked_stays_masked(engine: Engine) -> None:
    script = "(wc -c < /proc/timer_list) 2>/dev/null || echo 0; ls -A /sys/firmware 2>/dev/null | wc -l; "
    script += "(: > /proc/sys/kernel/hostname) 2>&1 | grep -c Read-only"
    assert sh(engine, script).split() == ["0", "0", "1"]
    mounts = sh(engine, "cat /proc/mounts").splitlines()
    options = {line.split()[1]: line.split()[3].split(",") for line in mounts}
    assert "ro" in options["/sys"] and "ro" in options["/proc/sys"] and {"nosuid", "noexec", "nodev"} <= set(options["/proc"])


@pytest.mark.no_leak_check  # a new daemon makes again what images share only when it is wanted
def test_it_all_survives_the_daemon(engine: Engine) -> None:
    container = engine.pier("run", "-d", "whiteouts", "sh", "-c", "echo x > /kept; sleep 60").ok().line
    engine.kill("daemon")
    engine.start()
    assert engine.pier("exec", container, "cat", "/kept", "/a/kept").ok().out == "x\n2"
    engine.pier("rm", "-f", container).ok()
    assert sh(engine, "cat /a/kept", image="whiteouts") == "2"
    assert not Path(engine.data_root / "snapshots" / container).exists()


def test_an_image_is_shown_as_its_containers_see_it(engine: Engine) -> None:
    listing = "find a d turned f -exec stat -c '%n %a %u %F' {} + 2>/dev/null | sort"
    shown = sh(engine, f"cd /i; {listing}; touch new 2>&1 || true", "--mount", "type=image,source=whiteouts,target=/i").splitlines()
    assert shown[:-1] == sh(engine, f"cd /; {listing}", image="whiteouts").splitlines() and "Read-only" in shown[-1]
    assert sh(engine, "ls /d; cat /x", "--mount", "type=image,source=whiteouts,target=/d,image-subpath=d",
              "--mount", "type=image,source=whiteouts,target=/x,image-subpath=turned").split() == ["new", "a", "file"]  # fmt: skip
