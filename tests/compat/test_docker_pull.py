"""Pulling through the docker command and docker-py: names, digests, platforms, progress, errors; and what run and create pull."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.commands import eventually
from tests.harness.registry import PASSWORD, USER, DockerRegistry, FakeRegistry, busybox, index, needs_docker_registry, small

from .conftest import Target

pytestmark = needs_docker_registry
AMD, ARM = small("amd", docker=True, platform="linux/amd64"), small("arm", docker=True, platform="linux/arm64/v8")
OLD, NEW = small("old", docker=True), small("new", docker=True)


@pytest.fixture(scope="module")
def registry(loaded: Target) -> Iterator[DockerRegistry]:
    with DockerRegistry(loaded.inside) as made:
        made.push("team/app", small(docker=True, layers=2), "v1", "v2")
        made.push("team/all", index([(AMD, "linux/amd64"), (ARM, "linux/arm64/v8")], docker=True), "latest")
        made.push("team/busybox", busybox(docker=True), "latest")
        yield made


@pytest.fixture
def app(registry: DockerRegistry, docker: Target) -> Iterator[str]:
    """The name of a repository with the tags v1 and v2; what was pulled of it is removed."""
    name = f"{registry.name}/team/app"
    yield name
    forget(docker, registry.name)


def forget(docker: Target, host: str) -> None:
    """Remove the names of this registry; by name, since an image of it may be the one that all tests run."""
    rows = [line.split() for line in docker("images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}").ok().out.splitlines()]
    if left := {f"{name}@{digest}" if tag == "<none>" else f"{name}:{tag}" for name, tag, digest in rows if name.startswith(host)}:
        docker("rmi", "-f", *sorted(left)).ok()


def test_a_tag(docker: Target, app: str) -> None:
    digest = small(docker=True, layers=2).digest
    lines = docker("pull", f"{app}:v1").ok().out.splitlines()
    assert lines[0] == "v1: Pulling from team/app" and [line for line in lines if line.endswith(": Pull complete")]
    assert lines[-3:] == [f"Digest: {digest}", f"Status: Downloaded newer image for {app}:v1", f"{app}:v1"]
    found = json.loads(docker("image", "inspect", f"{app}:v1").ok().out)[0]
    assert (found["Id"], found["RepoTags"], found["RepoDigests"]) == (small(docker=True, layers=2).image_id, [f"{app}:v1"], [f"{app}@{digest}"])
    again = docker("pull", f"{app}:v1").ok().out.splitlines()
    assert again[-2:] == [f"Status: Image is up to date for {app}:v1", f"{app}:v1"]


def test_without_a_tag(docker: Target, registry: DockerRegistry, app: str) -> None:
    name = f"{registry.name}/team/busybox"
    out = docker("pull", name).ok().out
    assert out.startswith("Using default tag: latest\nlatest: Pulling from team/busybox\n") and out.endswith(f"{name}:latest\n")
    assert docker("run", "--rm", name, "echo", "hello").ok().out == "hello\n"


def test_quietly(docker: Target, app: str) -> None:
    done = docker("pull", "-q", f"{app}:v1").ok()
    assert (done.out, done.err) == (f"{app}:v1\n", "")


def test_a_digest(docker: Target, app: str) -> None:
    digest = small(docker=True, layers=2).digest
    lines = docker("pull", f"{app}@{digest}").ok().out.splitlines()
    assert lines[0] == f"{app}@{digest}: Pulling from team/app" and lines[-1] == f"{app}@{digest}"
    assert docker("images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}", app).ok().line == f"{app} <none> {digest}"


def test_all_tags(docker: Target, app: str) -> None:
    out = docker("pull", "-a", app).ok().out
    assert out.splitlines()[-1] == app
    assert sorted(docker("images", "--format", "{{.Tag}}", app).ok().out.split()) == ["v1", "v2"]


def test_a_platform(docker: Target, registry: DockerRegistry, app: str) -> None:
    name = f"{registry.name}/team/all"
    docker("pull", "--platform", "linux/arm64", name).ok()
    assert docker.inspect(name, "{{.Id}} {{.Architecture}}") == f"{ARM.image_id} arm64"
    docker("pull", "--platform", "linux/amd64", name).ok()
    assert docker.inspect(name, "{{.Id}}") == AMD.image_id
    docker("pull", "--platform", "linux/s390x", name).fails(1, "no matching manifest for linux/s390x in the manifest list entries")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("{app}:none", "manifest for {app}:none not found: manifest unknown: manifest unknown"),
        ("{host}/team/none:v1", "manifest for {host}/team/none:v1 not found: manifest unknown: manifest unknown"),
        ("{app}@sha256:" + "0" * 64, "manifest for {app}@sha256:" + "0" * 64 + " not found: manifest unknown: manifest unknown"),
        ("127.0.0.1:1/app", "dial tcp 127.0.0.1:1: connect: connection refused"),
    ],
)
def test_what_is_not_there(docker: Target, registry: DockerRegistry, app: str, name: str, text: str) -> None:
    words = {"app": app, "host": registry.name}
    docker("pull", name.format(**words)).fails(1, "Error response from daemon: ", text.format(**words))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-a", "127.0.0.1:1/app:v1"], "tag can't be used with --all-tags/-a"),
        (["APP"], "invalid reference format: repository name (library/APP) must be lowercase"),
        ([], "pull' requires 1 argument"),
    ],
)
def test_mistakes(docker: Target, words: list[str], text: str) -> None:
    docker("pull", *words).fails(1, text)


def test_a_registry_that_wants_a_login(docker: Target, app: str) -> None:
    with DockerRegistry(docker.inside, htpasswd=True) as private:
        private.push("app", small(docker=True), "v1")
        docker("pull", f"{private.name}/app:v1").fails(1, "no basic auth credentials")


# run and create


def test_run_pulls_what_is_missing(docker: Target, registry: DockerRegistry, app: str) -> None:
    name = f"{registry.name}/team/busybox"
    docker("run", "--rm", "--pull", "never", name, "true").fails(125, f"No such image: {name}:latest")
    done = docker("run", "--rm", name, "echo", "hello").ok()
    assert done.out == "hello\n" and done.err.startswith(f"Unable to find image '{name}:latest' locally\nlatest: Pulling from team/busybox\n")
    assert f"Status: Downloaded newer image for {name}:latest\n" in done.err
    assert docker("run", "--rm", name, "echo", "again").ok().err == ""


def test_create_pulls_quietly(docker: Target, registry: DockerRegistry, app: str) -> None:
    done = docker("create", "-q", f"{registry.name}/team/busybox", "true").ok()
    assert re.fullmatch("[0-9a-f]{64}\n", done.out) and done.err == ""


def test_pull_always_takes_what_the_tag_means_now(docker: Target, registry: DockerRegistry, app: str) -> None:
    name = registry.push("team/moving", OLD, "tag")
    docker("pull", "-q", name).ok()
    registry.push("team/moving", NEW, "tag")
    docker("create", "-q", name, "x").ok()
    assert docker.inspect(name, "{{.Id}}") == OLD.image_id
    docker("create", "-q", "--pull", "always", name, "x").ok()
    assert docker.inspect(name, "{{.Id}}") == NEW.image_id


@pytest.mark.parametrize(("command", "code"), [("run", 125), ("create", 1)])
def test_what_cannot_be_pulled(docker: Target, app: str, command: str, code: int) -> None:
    done = docker(command, f"{app}:none").fails(code, f"Unable to find image '{app}:none' locally\n", f"manifest for {app}:none not found")
    assert done.out == ""


# On a terminal


def test_bars_on_a_terminal(docker: Target, app: str) -> None:
    with docker.terminal("pull", f"{app}:v1", cols=150) as terminal:
        shown = terminal.expect(f"{app}:v1\r\n")
        assert terminal.wait() == 0
    assert "\x1b[2A\x1b[2K\r" in shown and shown.count(": Pull complete") == 2


@pytest.mark.parametrize("command", [["pull"], ["run"]])
def test_control_c_ends_it(docker: Target, command: list[str]) -> None:
    big = small("big", size=4_000_000, docker=True)
    with FakeRegistry(inside=docker.inside) as slow:
        name = slow.add("big", big, "v1")
        slow.fault(f"GET .*/blobs/{big.layers[0]}", times=None, rate=300_000)
        with docker.terminal(*command, name, cols=150) as terminal:
            terminal.expect("Downloading [")
            terminal.type("\x03")
            assert terminal.wait() == 130
        eventually(lambda: docker("image", "inspect", name).code == 1)
        assert docker("images", "-q", name).ok().out == ""


# docker-py


def test_docker_py(docker: Target, client: Any, registry: DockerRegistry, app: str) -> None:
    image = client.images.pull(app, tag="v1")
    assert image.tags == [f"{app}:v1"] and image.id == small(docker=True, layers=2).image_id
    assert sorted(tag for found in client.images.pull(app, all_tags=True) for tag in found.tags) == [f"{app}:v1", f"{app}:v2"]
    lines = list(client.api.pull(f"{registry.name}/team/all", tag="latest", stream=True, decode=True, platform="linux/arm64"))
    assert lines[0] == {"status": "Pulling from team/all", "id": "latest"}
    assert {line["id"] for line in lines if line["status"] == "Pull complete"} == {line["id"] for line in lines if line["status"] == "Pulling fs layer"}
    assert lines[-1]["status"] == f"Status: Downloaded newer image for {registry.name}/team/all:latest"


def test_docker_py_with_a_login_of_its_own(docker: Target, client: Any, app: str) -> None:
    from docker.errors import APIError, NotFound

    with DockerRegistry(docker.inside, htpasswd=True) as private:
        name = private.push("app", small("private", docker=True), "v1").removesuffix(":v1")
        with pytest.raises(APIError, match="no basic auth credentials"):
            client.images.pull(name, tag="v1")
        auth = {"username": USER, "password": PASSWORD}
        assert client.images.pull(name, tag="v1", auth_config=auth).id == small("private", docker=True).image_id
        data = client.images.get_registry_data(f"{name}:v1", auth_config=auth)
        assert data.id == small("private", docker=True).digest and data.has_platform("linux/amd64")
        with pytest.raises(NotFound):
            client.images.pull(name, tag="none", auth_config=auth)
        client.images.remove(f"{name}:v1")
