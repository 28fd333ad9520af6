"""Binds whose mounts the host sees, and the other way round; and that nothing but what the container mounts itself reaches the host."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import images
from tests.harness.commands import run
from tests.harness.engine import Engine


class Host:
    """The engine's own mounts: a shared tmpfs with folders in it, and one that is not."""

    def __init__(self, engine: Engine, place: Path) -> None:
        self.engine, self.shared, self.private = engine, place / "shared", place / "private"

    def __call__(self, script: str) -> str:
        return run(self.engine.namespaces.argv("sh", "-c", script), None).ok().out

    def mounts(self) -> list[str]:
        """Where something is mounted below the two."""
        return sorted(line.split()[4] for line in self("cat /proc/self/mountinfo").splitlines() if f"{self.shared.parent}/" in line.split()[4])


@pytest.fixture
def host(engine: Engine, tmp_path: Path) -> Iterator[Host]:
    found = Host(engine, tmp_path)
    for place, kind in ((found.shared, "shared"), (found.private, "private")):
        place.mkdir()
        found(f"mount -t tmpfs t {place} && mount --make-{kind} {place} && mkdir {place}/a {place}/b && touch {place}/b/own")
    there = set(engine.containers())
    yield found
    for container in set(engine.containers()) - there:
        engine.api("DELETE", f"/containers/{container}", force=True).ok(204)
    found(f"umount -R {found.shared}; umount -R {found.private}")


def made(engine: Engine, *binds: str, script: str = "sleep 300", image: str = "busybox:latest", **host: Any) -> str:
    config = {"Image": image, "Cmd": ["sh", "-c", script], "HostConfig": {"Binds": list(binds), **host}}
    return str(engine.api("POST", "/containers/create", config).ok(201).json["Id"])


def started(engine: Engine, *binds: str, **more: Any) -> str:
    identity = made(engine, *binds, **more)
    engine.api("POST", f"/containers/{identity}/start").ok(204)
    return identity


def inside(engine: Engine, container: str, script: str) -> str:
    return engine.pier("exec", "--privileged", container, "sh", "-c", script).ok().out


@pytest.mark.parametrize("word", ["shared", "rshared"])
def test_what_is_mounted_on_one_side_is_on_the_other(host: Host, word: str) -> None:
    engine = host.engine
    before = host.mounts()
    container = started(engine, f"{host.shared}/a:/x:{word}", Privileged=True)
    assert engine.api.get(f"/containers/{container}/json")["Mounts"][0]["Propagation"] == word
    inside(engine, container, "mkdir /x/in && mount -t tmpfs t /x/in && touch /x/in/side")
    assert host(f"ls {host.shared}/a/in") == "side\n"
    host(f"mkdir {host.shared}/a/out && mount -t tmpfs t {host.shared}/a/out && touch {host.shared}/a/out/side")
    assert inside(engine, container, "ls /x/out") == "side\n"
    there = sorted([*before, f"{host.shared}/a/in", f"{host.shared}/a/out"])
    assert host.mounts() == there, "and nothing else"
    engine.api("POST", f"/containers/{container}/restart", t=0).ok(204)
    assert inside(engine, container, "ls /x/in /x/out").count("side") == 2
    # Taking the mount from the container takes nothing from the host.
    engine.api("POST", f"/pier/containers/{container}/mounts", {"Remove": ["/x"]}).ok(204)
    assert host.mounts() == there
    engine.api("DELETE", f"/containers/{container}", force=True).ok(204)
    assert host.mounts() == there, "what was mounted stays, as with Docker"


@pytest.mark.parametrize("word", ["slave", "rslave"])
def test_a_slave_sees_the_host_and_is_not_seen(host: Host, word: str) -> None:
    container = started(host.engine, f"{host.shared}/a:/x:{word}", f"{host.shared}/b:/y:rshared", Privileged=True)
    host(f"mkdir {host.shared}/a/out && mount -t tmpfs t {host.shared}/a/out && touch {host.shared}/a/out/side")
    assert inside(host.engine, container, "ls /x/out") == "side\n"
    inside(host.engine, container, "mkdir /x/in /y/in && mount -t tmpfs t /x/in && mount -t tmpfs t /y/in")
    assert [place.removeprefix(f"{host.shared}/") for place in host.mounts()[2:]] == ["a/out", "b/in"]


def test_a_source_that_is_not_shared_is_refused_in_docker_s_words(host: Host) -> None:
    for word, kind in (("rshared", "a shared"), ("slave", "a shared or slave")):
        container = made(host.engine, f"{host.private}/a:/x:{word}")
        answer = host.engine.api("POST", f"/containers/{container}/start")
        answer.refused(500, f"path {host.private}/a is mounted on {host.private} but it is not {kind} mount")
    container = made(host.engine, f"{host.shared}/a:/x:shared")
    host(f"rmdir {host.shared}/a")
    host.engine.api("POST", f"/containers/{container}/start").refused(500, f"bind source path does not exist: {host.shared}/a")


def test_nothing_of_the_engine_s_is_mounted_below_it(host: Host, tmp_path: Path) -> None:
    engine, source = host.engine, f"{host.shared}/a"
    before = host.mounts()
    for binds, more in (
        ([f"{source}:/x:rshared", f"{host.private}/b:/x/y"], {}),
        ([f"{source}:/x:rshared", f"{host.shared}/b:/x/y:shared"], {}),
        ([f"{source}:/x:rshared"], {"Tmpfs": {"/x/ram": ""}}),
    ):
        config = {"Image": "busybox:latest", "HostConfig": {"Binds": binds, **more}}
        engine.api("POST", "/containers/create", config).refused(400, "what is mounted below a shared bind is mounted on the host, too")
    for target in ("/etc", "/proc", "/dev", "/sys/firmware"):
        container = made(engine, f"{source}:{target}:rshared")
        engine.api("POST", f"/containers/{container}/start").refused(400, f"mount {target}: ")
    assert host.mounts() == before and host(f"find {source}") == f"{source}\n"


@pytest.mark.no_leak_check  # the list of a container's layers is collected at the next start
def test_no_link_of_an_image_leads_a_mount_there(host: Host, tmp_path: Path) -> None:
    archive = tmp_path / "links.tar"
    images.docker_archive(archive, "links:latest", [images.busybox_layer(), images.layer({"link": "/x", "x": 0o755})])
    engine = host.engine
    engine.api("POST", "/images/load", data=archive.read_bytes()).ok()
    before = host.mounts()
    (tmp_path / "plain").mkdir()
    covered = started(engine, f"{host.shared}/a:/x:rshared", f"{tmp_path}/plain:/link/y", image="links")
    assert host.mounts() == before and host(f"find {host.shared}/a") == f"{host.shared}/a\n"
    refused = made(engine, f"{host.shared}/a:/link:rshared", image="links")
    engine.api("POST", f"/containers/{refused}/start").refused(500, "/link must not be a link, nor lie behind one")
    for container in (covered, refused):
        engine.api("DELETE", f"/containers/{container}", force=True).ok(204)
    engine.api("DELETE", "/images/links").ok()


def test_mounts_cannot_be_added_while_it_runs(host: Host) -> None:
    engine = host.engine
    container = started(engine, f"{host.shared}/a:/x:rshared")
    add = {"Add": [{"Type": "tmpfs", "Target": "/ram"}], "Remove": []}
    engine.api("POST", f"/pier/containers/{container}/mounts", add).refused(409, "shows its mounts below /x to the host")
    engine.api("POST", f"/containers/{container}/stop", t=0).ok(204)
    engine.api("POST", f"/pier/containers/{container}/mounts", {"Add": [{"Type": "tmpfs", "Target": "/x/ram"}]}).refused(400, "on the host, too")
    engine.api("POST", f"/pier/containers/{container}/mounts", add).ok(204)
    engine.api("POST", f"/containers/{container}/start").ok(204)
