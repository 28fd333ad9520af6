"""Images of several platforms, and disk usage, with the real docker command and docker-py.

What a name of several platforms does is compared with nothing: an engine 28 with its graph drivers keeps one image for a name. The same engine
with the containerd store was looked at by hand (docs/compatibility.md).
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.conftest import Target
from tests.harness import images
from tests.harness.commands import run
from tests.harness.engine import program
from tests.harness.registry import FakeRegistry, image, index

HERE = "amd64" if images.busybox_is_amd64() else "arm64"
base = images.layer({"bin": 0o755, "bin/busybox": (images.busybox().read_bytes(), 0o755), "bin/sh": "busybox", "bin/cat": "busybox"})
own = image([base, images.layer({"mark": b"own\n"})])
foreign = image([base, images.layer({"mark": b"foreign\n"})], platform="linux/s390x")
both = index([(own, f"linux/{HERE}"), (foreign, "linux/s390x")])


@pytest.fixture
def name(docker: Target) -> Iterator[str]:
    """A name on a registry that the engine reaches; nothing of it is there yet."""
    with FakeRegistry(inside=docker.inside) as registry:
        name = f"{registry.name}/{docker.name()}:v1"
        registry.add(name.partition("/")[2].rpartition(":")[0], both, "v1")
        yield name
        docker("rmi", "-f", name)


@pytest.fixture
def both_here(docker: Target, name: str) -> str:
    """The name with both of its images."""
    if docker.kind == "reference":
        pytest.skip("an engine 28 with its graph drivers keeps one image for a name")
    for platform in (f"linux/{HERE}", "linux/s390x"):
        docker("pull", "-q", "--platform", platform, name).ok()
    return name


def test_a_platform_that_is_not_here(docker: Target, name: str) -> None:
    docker("pull", "-q", name).ok()
    why = f"image with reference {name} was found but its platform (linux/{HERE}) does not match the specified platform (linux/s390x)"
    docker("image", "inspect", "--platform", "linux/s390x", name).fails(1, why)
    docker("create", "--pull", "never", "--platform", "linux/s390x", name).fails(1, why)
    docker("image", "inspect", "--platform", "zz", name).fails(1, '"zz": unknown operating system or architecture')
    assert docker("image", "inspect", "--platform", f"linux/{HERE}", "-f", "{{.Id}}", name).ok().line == own.image_id
    assert docker("history", "-q", "--no-trunc", "--platform", f"linux/{HERE}", name).ok().out.splitlines()[0] == own.image_id


def test_disk_usage(docker: Target, client: Any, name: str) -> None:
    docker("pull", "-q", name).ok()
    made = docker("run", "-d", name, "sh", "-c", "cat /mark > /copy").ok().line
    docker("wait", made).ok()
    rows = [line.split("\t") for line in docker("system", "df", "--format", "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}").ok().out.splitlines()]
    assert [row[0] for row in rows] == ["Images", "Containers", "Local Volumes", "Build Cache"]
    usage = client.df()
    assert (len(usage["Images"]), len(usage["Containers"])) == (int(rows[0][1]), int(rows[1][1]))
    (found,) = (one for one in usage["Images"] if one["Id"] == own.image_id)
    assert found["Containers"] == 1 and 0 <= found["SharedSize"] < found["Size"] <= usage["LayersSize"]
    (container,) = (one for one in usage["Containers"] if one["Id"] == made)
    assert container["SizeRw"] == 4 and container["SizeRootFs"] > 1_000_000
    verbose = json.loads(docker("system", "df", "-v", "--format", "json").ok().out)
    assert name in [f"{one['Repository']}:{one['Tag']}" for one in verbose["Images"]]
    docker("rm", made).ok()


def test_each_platform_is_found_by_the_same_name(docker: Target, both_here: str) -> None:
    assert docker("run", "--rm", both_here, "cat", "/mark").ok().out == "own\n"
    assert docker("image", "inspect", "--platform", "linux/s390x", "-f", "{{.Id}} {{.Architecture}}", both_here).ok().line == f"{foreign.image_id} s390x"
    made = docker("create", "--platform", "linux/s390x", both_here, "x").ok().line
    assert docker.inspect(made, "{{.Image}} {{.Config.Image}}") == f"{foreign.image_id} {both_here}"
    assert docker("ps", "-a", "--filter", f"id={made}", "--format", "{{.Image}}").ok().line == both_here
    assert sorted(docker("images", "-q", "--no-trunc", both_here).ok().out.split()) == sorted([own.image_id, foreign.image_id])


def test_the_tree_is_the_same_in_both_commands(docker: Target, both_here: str) -> None:
    docker("tag", both_here, f"{both_here}-too").ok()
    docker("create", "--platform", "linux/s390x", both_here, "x").ok()
    for words in (["--tree"], ["--tree", "-a"], ["--tree", both_here]):
        drawn = re.sub(r"\x1b\[[0-9;]*m", "", docker("images", *words).ok().out)
        assert run([*program("pier", "pier.cli.main"), "images", *words], docker.env).ok().out == drawn
    assert f"├─ linux/{HERE}" in drawn and "└─ linux/s390x" in drawn and drawn.count("  U  ") == 2
    docker("rmi", f"{both_here}-too").ok()


def test_a_platform_is_removed_alone(docker: Target, both_here: str) -> None:
    docker("rmi", "--platform", "linux/riscv64", both_here).fails(1, "does not provide the specified platform (linux/riscv64)")
    assert f"Deleted: {foreign.image_id}\n" in docker("rmi", "--platform", "linux/s390x", both_here).ok().out
    assert docker("images", "-q", "--no-trunc", both_here).ok().out.split() == [own.image_id]
    assert f"Untagged: {both_here}\n" in docker("rmi", "--platform", f"linux/{HERE}", both_here).ok().out


def test_docker_py_sees_the_same(docker: Target, client: Any, both_here: str) -> None:
    assert client.images.get(both_here).id == own.image_id
    assert sorted(one.id for one in client.images.list(name=both_here)) == sorted([own.image_id, foreign.image_id])
    made = client.containers.create(both_here, "x", platform="linux/s390x")
    try:
        assert made.attrs["Image"] == foreign.image_id
    finally:
        made.remove()
    client.images.remove(both_here)
    assert client.images.list(name=both_here) == []


def test_what_is_saved_of_a_platform_is_that_image(docker: Target, both_here: str, tmp_path: Path) -> None:
    docker("save", "--platform", "linux/s390x", "-o", str(tmp_path / "saved.tar"), both_here).ok()
    docker("rmi", both_here).ok()
    docker("load", "--platform", "linux/s390x", "-i", str(tmp_path / "saved.tar")).ok()
    assert docker("images", "-q", "--no-trunc", both_here).ok().out.split() == [foreign.image_id]


def test_what_is_saved_of_all_platforms_comes_back_with_all(docker: Target, both_here: str, tmp_path: Path) -> None:
    docker("save", "-o", str(tmp_path / "saved.tar"), both_here).ok()
    docker("rmi", both_here).ok()
    assert docker("load", "-i", str(tmp_path / "saved.tar")).ok().out.count("Loaded image: ") == 1
    assert sorted(docker("images", "-q", "--no-trunc", both_here).ok().out.split()) == sorted([own.image_id, foreign.image_id])
    assert docker("run", "--rm", both_here, "cat", "/mark").ok().out == "own\n"
