"""Limits of local volumes on the file systems that have project quotas, in loop devices; and that a kill on the way leaves none behind.

Skipped where the kernel has no quotas (this needs CONFIG_QFMT_V2, CONFIG_XFS_QUOTA): tests/vm runs it in Debian's.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pier import trace
from pier.errors import Conflict, Invalid
from pier.events import Journal
from pier.linux import quotas
from pier.store import Store
from pier.volumes import Volumes, repairing, schema
from pier.volumes.bin import Bin
from pier.volumes.resizing import resize

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loop devices, mounts")
MAKE = {"ext4": ("mkfs.ext4", "-q", "-O", "quota,project"), "xfs": ("mkfs.xfs", "-q")}
STEPS = (schema.SCHEMA, schema.MOUNTS, schema.BEYOND, schema.TRASH, schema.PROJECTS)
LIMIT = 2 << 20
T = TypeVar("T")


@pytest.fixture(scope="module", params=list(MAKE))
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A mounted file system with project quotas."""
    folder = tmp_path_factory.mktemp(request.param)
    image, place = folder / "image", folder / "disk"
    with image.open("wb") as file:
        file.truncate(320 << 20)  # the least that mkfs.xfs takes
    place.mkdir()
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    program = shutil.which(MAKE[request.param][0], path=path)
    if not program:
        pytest.skip(f"no {MAKE[request.param][0]}")
    subprocess.run([program, *MAKE[request.param][1:], image], check=True, capture_output=True)
    done = subprocess.run(["mount", "-o", "loop,prjquota", image, place], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this kernel has no project quotas on {request.param}: {done.stderr.strip()}")
    place.chmod(0o755)
    yield place
    subprocess.run(["umount", place], check=True)


class Stage:
    """Volumes of a data root that is new in each test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store.open(root / "state.db", STEPS)
        self.volumes = Volumes(self.store, root / "volumes", Journal())
        Bin(self.volumes, 24, 1 << 30)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)

    def data(self, name: str) -> Path:
        return self.volumes.local.path(name)

    def project(self, name: str) -> int:
        return self.of(name, quotas.project_of)

    def of(self, name: str, ask: Callable[[int], T]) -> T:
        fd = os.open(self.data(name), os.O_RDONLY)
        try:
            return ask(fd)
        finally:
            os.close(fd)

    def held(self, project: int) -> int:
        """The limit of a project."""
        fd = os.open(self.root, os.O_RDONLY)
        try:
            return quotas.used(fd, project)[1]
        finally:
            os.close(fd)

    def rows(self) -> dict[str, int]:
        return {row["volume"]: row["id"] for row in self.store.read("SELECT volume, id FROM volume_project")}

    def repair(self) -> list[str]:
        return self.run(repairing.repair(self.volumes, lambda _: ()))

    def close(self) -> None:
        self.volumes.close()
        self.store.close()


@pytest.fixture
def root(disk: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    made = disk / f"root{abs(hash(request.node.name))}"
    made.mkdir()
    yield made
    shutil.rmtree(made)


@pytest.fixture
def stage(root: Path) -> Iterator[Stage]:
    made = Stage(root)
    yield made
    made.close()


def fills(folder: Path, megabytes: int) -> str:
    """What a user without capabilities hears who writes so much; "" where it fits."""
    folder.chmod(0o777)
    script = f"import os\nwith open('f', 'wb', 0) as f:\n for _ in range({megabytes}): f.write(bytes(1 << 20))\n os.fsync(f.fileno())"
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, user=1000, group=1000, extra_groups=[], capture_output=True, text=True)
    return done.stderr.strip().rpartition("\n")[2]


def test_what_is_beyond_is_refused_and_the_rest_of_the_disk_is_free(stage: Stage) -> None:
    for name in ("held", "other"):
        stage.run(stage.volumes.create(name, options={"size": "2m"}))
    stage.run(stage.volumes.create("free"))
    assert fills(stage.data("held"), 1) == ""
    assert "Disk quota exceeded" in (said := fills(stage.data("held"), 3)) or "No space left" in said
    assert fills(stage.data("other"), 1) == "" and fills(stage.data("free"), 3) == ""
    assert stage.project("held") != stage.project("other") and stage.project("free") == 0
    taken, limit = stage.of("held", lambda fd: quotas.used(fd, quotas.project_of(fd)))
    assert limit == LIMIT and taken <= LIMIT
    inside = os.statvfs(stage.data("held"))
    assert inside.f_blocks * inside.f_frsize == LIMIT


def test_a_number_is_given_once(stage: Stage) -> None:
    given = []
    for _ in range(3):
        stage.run(stage.volumes.create("one", options={"size": "2m"}))
        given.append(stage.project("one"))
        stage.run(stage.volumes.remove("one", lambda _: (), force=True))
        stage.run(stage.volumes.bin.empty() if stage.volumes.bin else asyncio.sleep(0))
        assert stage.rows() == {} and stage.held(given[-1]) == 0
    assert given == list(range(given[0], given[0] + 3))
    assert given[0] >= 1 << 30


def test_a_number_that_somebody_else_has_is_left_alone(stage: Stage) -> None:
    stage.run(stage.volumes.create("one", options={"size": "2m"}))
    taken = stage.project("one") + 1
    stage.of("one", lambda fd: quotas.limit(fd, taken, 1 << 30))
    stage.run(stage.volumes.create("two", options={"size": "2m"}))
    assert stage.project("two") == taken + 1 and stage.held(taken) == 1 << 30


def test_the_limit_goes_where_the_volume_goes(stage: Stage) -> None:
    volumes, project = stage.volumes, 0

    async def story() -> None:
        nonlocal project
        await volumes.create("one", options={"size": "2m"})
        project = stage.project("one")
        await volumes.records.begin_rename("one", "two")
        volumes.local.rename("one", "two")
        await volumes.records.end_rename("one", "two", done=True)
        volumes.renamed("one", "two")
        assert stage.rows() == {"two": project} and volumes.quotas.limit("two") == LIMIT
        await volumes.remove("two", lambda _: ())
        assert list(stage.rows().values()) == [project] and stage.held(project) == LIMIT
        assert volumes.bin
        await volumes.bin.recover("two", "three")

    stage.run(story())
    assert stage.rows() == {"three": project} == {"three": stage.project("three")} and stage.held(project) == LIMIT
    assert stage.repair() == [] and stage.held(project) == LIMIT


def create(stage: Stage) -> None:
    stage.run(stage.volumes.create("one", options={"size": "2m"}))


@pytest.mark.parametrize("step", ["volumes.project", "volumes.limit", "volumes.folder", "volumes.bound", "volumes.made"])
def test_a_kill_on_the_way_to_a_volume_leaves_no_limit(root: Path, step: str) -> None:
    killed(root, step, create)
    stage = Stage(root)
    (project,) = stage.rows().values()
    assert any("the limit of a volume one" in line for line in stage.repair())
    assert stage.rows() == {} and stage.held(project) == 0 and stage.volumes.local.names() == []
    stage.run(stage.volumes.create("one", options={"size": "1m"}))
    assert stage.project("one") == project + 1 and stage.held(project + 1) == 1 << 20
    stage.close()


def test_a_kill_after_it_leaves_a_volume_that_is_held(root: Path) -> None:
    killed(root, "volumes.created", create)
    stage = Stage(root)
    assert stage.repair() == [] and stage.held(stage.project("one")) == LIMIT
    assert "exceeded" in (said := fills(stage.data("one"), 3)) or "No space" in said
    stage.close()


def test_a_kill_during_a_removal_leaves_no_limit(root: Path) -> None:
    def remove(stage: Stage) -> None:
        assert stage.volumes.bin
        stage.volumes.bin = None
        stage.run(stage.volumes.create("one", options={"size": "2m"}))
        stage.run(stage.volumes.remove("one", lambda _: ()))

    killed(root, "volumes.released", remove)
    stage = Stage(root)
    (project,) = stage.rows().values()
    stage.repair()
    assert stage.rows() == {} and stage.held(project) == 0
    stage.close()


def test_limits_that_somebody_took_away_hold_again_after_a_start(stage: Stage) -> None:
    stage.run(stage.volumes.create("one", options={"size": "2m"}))
    project = stage.project("one")
    stage.of("one", lambda fd: quotas.limit(fd, project, 0))
    stage.of("one", lambda fd: quotas.give(fd, 0))
    assert stage.repair() == []
    assert stage.held(project) == LIMIT and stage.project("one") == project


def test_a_limit_is_raised_and_lowered_but_not_below_what_is_there(root: Path) -> None:
    stage = Stage(root)

    async def story() -> None:
        await stage.volumes.create("one", options={"size": "2m"})
        assert fills(stage.data("one"), 3) != ""
        with pytest.raises(Conflict, match=r"update one: its files take [0-9]{6,7} bytes, which is more than a limit of 1048576: "):
            await resize(stage.volumes, "one", "1m")
        assert stage.held(stage.project("one")) == LIMIT and stage.volumes.get("one").options == {"size": "2m"}
        assert (await resize(stage.volumes, "one", "6m")).options == {"size": "6m"}
        assert fills(stage.data("one"), 4) == "" and stage.volumes.quotas.limit("one") == 6 << 20
        assert (await resize(stage.volumes, "one", "5m")).options == {"size": "5m"}
        assert fills(stage.data("one"), 6) != ""

    stage.run(story())
    stage.close()
    again = Stage(root)
    assert again.repair() == [] and again.volumes.get("one").options == {"size": "5m"} and again.held(again.project("one")) == 5 << 20
    again.close()


def test_a_kill_while_a_limit_changes_leaves_what_the_row_says(root: Path) -> None:
    def change(stage: Stage) -> None:
        create(stage)
        stage.run(resize(stage.volumes, "one", "9m"))

    killed(root, "volumes.resize", change)
    stage = Stage(root)
    assert stage.repair() == [] and stage.held(stage.project("one")) == 9 << 20 == stage.volumes.quotas.limit("one")
    stage.close()


def test_a_limit_that_the_kernel_refuses_is_not_in_the_row(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    create(stage)
    set_, said = quotas.limit, []

    def refuse(fd: int, project: int, size: int) -> None:
        said.append(size)
        if size == 3 << 20:
            raise OSError(5, "no")
        set_(fd, project, size)

    monkeypatch.setattr(quotas, "limit", refuse)
    with pytest.raises(OSError, match="no"):
        stage.run(resize(stage.volumes, "one", "3m"))
    assert said == [3 << 20, LIMIT] and stage.volumes.get("one").options == {"size": "2m"} and stage.volumes.quotas.limit("one") == LIMIT
    assert [row["size"] for row in stage.store.read("SELECT size FROM volume_project")] == [LIMIT]


@pytest.mark.parametrize("text", ["", "x", "-1", "10 parsecs", "9" * 30, "1e3", "5x"])
def test_what_is_no_size_is_refused(stage: Stage, text: str) -> None:
    with pytest.raises(Invalid, match="create one: invalid size: "):
        stage.run(stage.volumes.create("one", options={"size": text}))
    assert stage.volumes.local.names() == [] and stage.rows() == {}


def killed(root: Path, step: str, work: Callable[[Stage], None]) -> None:
    """Do it in a process that is killed at a step."""
    pid = os.fork()
    if not pid:
        try:
            trace.configure(f"{step}:kill")
            work(Stage(root))
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL, f"{step} was never passed"
