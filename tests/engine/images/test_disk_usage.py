"""`system df` says what `du` says, for each kind of layers, and what can be reclaimed is what a prune reclaims."""

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.harness import images
from tests.harness.commands import eventually
from tests.harness.engine import Engine
from tests.harness.registry import FakeRegistry, image

MEGABYTE = 1 << 20


@pytest.fixture(params=["erofs", "unpacked"])
def site(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with Engine(env={"PIER_FEATURES": "-erofs"} if request.param == "unpacked" else {}) as engine:
        engine.load_busybox()
        yield engine


def du(*paths: Path) -> int:
    done = subprocess.run(["du", "-s", "--block-size=1", *paths], capture_output=True, text=True, check=True)
    return sum(int(line.split()[0]) for line in done.stdout.splitlines())


def on_disk(engine: Engine) -> int:
    """What is there once everything removed is off the disk."""
    trash = engine.data_root / "layers" / ".trash"
    eventually(lambda: not os.listdir(trash), 20, "the trash is emptied")
    return du(engine.data_root / "layers", engine.data_root / "content")


def check(engine: Engine) -> dict[str, Any]:
    """GET /system/df, held against du."""
    found: dict[str, Any] = engine.api.get("/system/df")
    real = on_disk(engine)
    # The folder of the layers and its trash are not of any layer.
    assert abs(found["LayersSize"] - real) <= max(real / 100, 3 * 4096), (found["LayersSize"], real)
    return found


def test_system_df_is_du(site: Engine) -> None:
    base = images.layer({"many": 0o755, **{f"many/{n}": os.urandom(700) for n in range(1000)}, "links": 0o755,
                         **{f"links/{n}": f"../many/{n}" for n in range(300)}})  # fmt: skip
    top = images.layer({"big": os.urandom(5 * MEGABYTE), "zeros": bytes(3 * MEGABYTE)})
    with FakeRegistry(inside=site.namespaces) as registry:
        registry.add("one", image([base]), "1")
        registry.add("two", image([base, top]), "1")
        one, two = f"{registry.name}/one:1", f"{registry.name}/two:1"
        check(site)
        for name in (one, two):
            site.pier("pull", "-q", name).ok()
    found = check(site)
    by_name = {item["RepoTags"][0]: item for item in found["Images"]}
    assert by_name[one]["SharedSize"] == by_name[two]["SharedSize"] > 2 * 1000 * 700, "the layer and its compressed form"
    unique = by_name[two]["Size"] - by_name[two]["SharedSize"]
    assert 10 * MEGABYTE < unique < 14 * MEGABYTE, "once as it is, once compressed, and the zeros"
    together = sum(item["Size"] - item["SharedSize"] for item in by_name.values()) + by_name[one]["SharedSize"]
    assert abs(together - found["LayersSize"]) <= found["LayersSize"] / 100, "own and shared sizes add up"
    site.pier("rmi", one).ok()
    check(site)
    before = on_disk(site)
    reclaimed = site.api("POST", "/images/prune", filters={"dangling": ["false"], "label!": ["keep"]}).ok().json["SpaceReclaimed"]
    freed = before - on_disk(site)
    assert abs(reclaimed - freed) <= freed / 100, (reclaimed, freed)
    assert check(site)["Images"] == []


def test_containers_have_what_they_wrote(site: Engine) -> None:
    script = f"head -c {7 * MEGABYTE} /dev/urandom > /data; head -c {MEGABYTE} /dev/urandom > /tmp/more"
    made = site.pier("run", "-d", "busybox", "sh", "-c", script).ok().out.strip()
    site.pier("wait", made).ok()
    (container,) = site.api.get("/system/df", type="container")["Containers"]
    assert container["SizeRw"] == 8 * MEGABYTE
    real = du(site.data_root / "snapshots" / made)
    assert abs(container["SizeRw"] - real) <= real / 100
    rows = site.pier("system", "df", "--format", "{{.Type}}: {{.TotalCount}} {{.Active}} {{.Reclaimable}}").ok().out.splitlines()
    assert rows[1] == "Containers: 1 0 8.389MB (100%)" and rows[0].startswith("Images: 1 1 ")
    assert "busybox" in site.pier("system", "df", "-v").ok().out
    site.pier("rm", made).ok()
    assert site.api.get("/system/df", type="container")["Containers"] == []


def test_what_an_interrupted_pull_has_left_is_counted_and_pruned(site: Engine) -> None:
    big = image([images.layer({"big": os.urandom(4 * MEGABYTE)})])
    with FakeRegistry(inside=site.namespaces) as registry:
        registry.add("big", big, "1")
        registry.fault(f"GET .*/blobs/{big.layers[0]}", times=None, cut=2 * MEGABYTE, hang=True)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(site.pier, "pull", "-q", f"{registry.name}/big:1")
            eventually(lambda: du(site.data_root / "content" / "ingests") > MEGABYTE, 20, "a part of the blob is here")
            site.kill("daemon")
    site.start()
    before = site.api.get("/system/df")["LayersSize"]
    check(site)
    assert site.pier("image", "prune", "-f").ok().out.startswith("Total reclaimed space: ")
    assert before - site.api.get("/system/df")["LayersSize"] >= MEGABYTE
    check(site)
