"""Pushing through the docker command and docker-py; manifest lists made of what is there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import images
from tests.harness.registry import DockerRegistry, FakeRegistry, image, needs_docker_registry, small

from .conftest import Target

pytestmark = needs_docker_registry


@pytest.fixture(scope="module")
def registry(loaded: Target) -> Iterator[DockerRegistry]:
    with DockerRegistry(loaded.inside) as made:
        yield made


@pytest.fixture
def app(registry: DockerRegistry, docker: Target, tmp_path: Path) -> Iterator[str]:
    """The name, without a tag, of a repository on the registry, and an image here that is called so with the tags one and two."""
    name = f"{registry.name}/team/{docker.name()}"
    layers = [images.layer({"first": name.encode()}), images.layer({"second": b"2"})]
    image_id = images.docker_archive(tmp_path / "image.tar", f"{name}:one", layers, {"Labels": {"of": name}})
    docker("load", "-i", str(tmp_path / "image.tar")).ok()
    docker("tag", f"{name}:one", f"{name}:two").ok()
    yield name
    docker("rmi", "-f", image_id)


def there(registry: DockerRegistry, name: str, tag: str) -> Any:
    return json.loads(registry.manifest(name.partition("/")[2], tag))


def test_a_tag(docker: Target, registry: DockerRegistry, app: str) -> None:
    lines = docker("push", f"{app}:one").ok().out.splitlines()
    assert lines[0] == f"The push refers to repository [{app}]" and sum(line.endswith(": Pushed") for line in lines) == 2
    manifest = registry.manifest(app.partition("/")[2], "one")
    digest = lines[-1].split()[2]
    assert lines[-1] == f"one: digest: {digest} size: {len(manifest)}"
    assert there(registry, app, "one")["config"]["digest"] == docker.inspect(f"{app}:one", "{{.Id}}")
    assert docker.inspect(f"{app}:one", "{{.RepoDigests}}") == f"[{app}@{digest}]"
    again = docker("push", f"{app}:two").ok().out.splitlines()
    assert sum(line.endswith(": Layer already exists") for line in again) == 2 and again[-1] == f"two: digest: {digest} size: {len(manifest)}"


def test_what_was_pushed_comes_back(docker: Target, registry: DockerRegistry, app: str) -> None:
    docker("push", "-q", f"{app}:one").ok()
    image_id = docker.inspect(f"{app}:one", "{{.Id}}")
    docker("rmi", f"{app}:one", f"{app}:two").ok()
    docker("pull", "-q", f"{app}:one").ok()
    assert docker.inspect(f"{app}:one", "{{.Id}}") == image_id


def test_quietly(docker: Target, registry: DockerRegistry, app: str) -> None:
    assert docker("push", "-q", f"{app}:one").ok().out == f"{app}:one\n"


def test_all_tags(docker: Target, registry: DockerRegistry, app: str) -> None:
    out = docker("push", "-a", app).ok().out
    assert "one: digest: " in out and "two: digest: " in out
    assert there(registry, app, "one") == there(registry, app, "two")


def test_latest_is_meant(docker: Target, registry: DockerRegistry, app: str) -> None:
    docker("tag", f"{app}:one", app).ok()
    assert docker("push", app).ok().out.startswith("Using default tag: latest\n")
    assert there(registry, app, "latest")


def test_layers_of_another_repository_are_mounted(docker: Target, registry: DockerRegistry, app: str) -> None:
    docker("push", "-q", f"{app}:one").ok()
    other = f"{registry.name}/other/{docker.name()}"
    docker("tag", f"{app}:one", f"{other}:one").ok()
    out = docker("push", f"{other}:one").ok().out
    assert out.count(f": Mounted from {app.partition('/')[2]}\n") == 2
    assert there(registry, other, "one") == there(registry, app, "one")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["{app}:none"], "tag does not exist: {app}:none"),
        (["{host}/team/none"], "An image does not exist locally with the tag: {host}/team/none"),
        (["-a", "{app}:one"], "tag can't be used with --all-tags/-a"),
        (["{app}@sha256:" + "0" * 64], "cannot push a digest reference"),
        (["UPPER"], "invalid reference format: repository name (library/UPPER) must be lowercase"),
    ],
)
def test_mistakes(docker: Target, registry: DockerRegistry, app: str, words: list[str], text: str) -> None:
    known = {"app": app, "host": registry.name}
    docker("push", *(word.format(**known) for word in words)).fails(1, text.format(**known))


def test_a_registry_that_wants_a_login(docker: Target, app: str) -> None:
    with DockerRegistry(docker.inside, htpasswd=True) as private:
        docker("tag", f"{app}:one", f"{private.name}/app:one").ok()
        docker("push", f"{private.name}/app:one").fails(1, "no basic auth credentials")
        docker("rmi", f"{private.name}/app:one").ok()


def test_a_registry_that_refuses(docker: Target, app: str) -> None:
    with FakeRegistry(inside=docker.inside) as hostile:
        error = json.dumps({"errors": [{"code": "DENIED", "message": "not for you"}]}).encode()
        hostile.fault("^(POST|PUT|PATCH) ", times=None, status=403, body=error, headers={"Content-Type": "application/json"})
        docker("tag", f"{app}:one", f"{hostile.name}/app:one").ok()
        docker("push", f"{hostile.name}/app:one").fails(1, "denied: not for you")
        docker("rmi", f"{hostile.name}/app:one").ok()


def test_docker_py(docker: Target, client: Any, registry: DockerRegistry, app: str) -> None:
    lines = list(client.api.push(app, tag="one", stream=True, decode=True))
    assert lines[0] == {"status": f"The push refers to repository [{app}]"}
    aux = [line["aux"] for line in lines if "aux" in line]
    assert [(found["Tag"], found["Size"]) for found in aux] == [("one", len(registry.manifest(app.partition("/")[2], "one")))]
    assert client.images.get_registry_data(f"{app}:one").id == aux[0]["Digest"]
    assert "tag does not exist" in client.images.push(app, tag="none")


# Manifest lists: the command asks registries itself


def test_a_manifest_list(docker: Target, registry: DockerRegistry, tmp_path: Path) -> None:
    folder = f"team/{docker.name()}"
    amd = small("amd", docker=True, platform="linux/amd64")
    arm = image([images.layer({"arm": b"64"})], docker=True, platform="linux/arm64")
    names = {word: f"{registry.name}/{folder}/{word}:1" for word in ("amd", "arm", "both")}
    registry.push(f"{folder}/amd", amd, "1")
    registry.push(f"{folder}/arm", arm, "1")
    alone = docker.configured(tmp_path)
    assert alone.beside("manifest", "create", "--insecure", names["both"], names["amd"], names["arm"]).ok().out == f"Created manifest list {names['both']}\n"
    alone.beside("manifest", "annotate", names["both"], names["arm"], "--variant", "v8").ok()
    platforms = [{"architecture": "amd64", "os": "linux"}, {"architecture": "arm64", "os": "linux", "variant": "v8"}]
    wanted = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
        "manifests": [member.descriptor(platform=platform) for member, platform in zip((amd, arm), platforms, strict=True)],
    }
    shown = alone.beside("manifest", "inspect", "--insecure", names["both"]).ok().out
    assert json.loads(shown) == wanted
    out = alone.beside("manifest", "push", "--insecure", "--purge", names["both"]).ok().out.splitlines()
    pushed = f"{registry.name}/{folder}/both"
    assert out[:2] == [f"Pushed ref {pushed}@{member.digest} with digest: {member.digest}" for member in (amd, arm)]
    # the bytes are laid down: everybody's list of the same manifests has the same digest
    data = registry.manifest(f"{folder}/both", "1")
    assert data.decode() == shown.removesuffix("\n") == indented(wanted)
    assert docker("pull", "-q", "--platform", "linux/arm64/v8", names["both"]).ok() and docker.inspect(names["both"], "{{.Id}}") == arm.image_id
    docker("rmi", names["both"]).ok()
    alone.beside("manifest", "push", "--insecure", names["both"]).fails(1, f"No such manifest: {names['both']}")
    alone.beside("manifest", "inspect", "--insecure", f"{pushed}:none").fails(1, f"no such manifest: {pushed}:none")
    alone.beside("manifest", "rm", names["both"]).fails(1, f"No such manifest: {names['both']}")


def indented(found: dict[str, Any]) -> str:
    """The list as Docker writes it: three blanks, the size before the digest."""
    entries = [{key: entry[key] for key in ("mediaType", "size", "digest", "platform")} for entry in found["manifests"]]
    return json.dumps({**found, "manifests": entries}, indent=3)
