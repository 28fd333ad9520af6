"""What Pier pushed, read by others from the same docker-registry; what they pushed, pulled and pushed on by Pier with the same digest."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import images, reference
from tests.harness.engine import Engine
from tests.harness.reference import Reference
from tests.harness.registry import DockerRegistry, digest_of, needs_docker_registry

from .conftest import load, pull, push

pytestmark = [needs_docker_registry, pytest.mark.skipif(not reference.available(), reason="no peers here: ../shared/tools/peers make")]
PLAIN = ("--src-tls-verify=false", "--insecure-policy")


@pytest.fixture(scope="module")
def peers() -> Iterator[Reference]:
    with Reference() as found:
        yield found


@pytest.fixture
def there(own: Engine) -> Iterator[DockerRegistry]:
    with DockerRegistry(inside=own.namespaces) as registry:
        yield registry


def moved(registry: DockerRegistry, to: "Reference | Engine") -> None:
    """The same registry, with all that it holds, on another loopback."""
    registry.stop()
    registry.inside = to.namespaces if isinstance(to, Engine) else to
    registry.start()


def test_docker_podman_skopeo_crane_and_oras_read_what_was_pushed(own: Engine, there: DockerRegistry, peers: Reference, tmp_path: Path) -> None:
    name = f"{there.name}/team/app:1"
    identity = load(own, tmp_path, name, images.layer({"mark": os.urandom(3_000_000)}), images.layer({}))
    digest = push(own, name).digest
    moved(there, peers)
    peers("crane", "validate", "--insecure", "--remote", name).ok()
    assert peers("crane", "digest", "--insecure", name).ok().line == digest
    assert json.loads(peers("skopeo", "inspect", "--tls-verify=false", f"docker://{name}").ok().out)["Digest"] == digest
    (tmp_path / "dir").mkdir()
    peers("skopeo", "copy", *PLAIN, f"docker://{name}", f"dir:{tmp_path}/dir").ok()
    assert digest_of((tmp_path / "dir/manifest.json").read_bytes()) == digest
    assert json.loads(peers("oras", "manifest", "fetch", "--plain-http", "--descriptor", name).ok().out)["digest"] == digest
    peers("podman", "pull", "--tls-verify=false", name).ok()
    assert peers("podman", "image", "inspect", "--format", "{{.Id}}", name).ok().line == identity[7:]
    host = peers.start_dockerd()
    assert f"Digest: {digest}" in peers("docker", "-H", host, "pull", name).ok().out
    assert peers("docker", "-H", host, "image", "inspect", "--format", "{{.Id}}", name).ok().line == identity


@pytest.mark.parametrize("kind", ["oci", "v2s2"])
def test_what_skopeo_pushed_is_pulled_and_pushed_on(own: Engine, there: DockerRegistry, peers: Reference, tmp_path: Path, kind: str) -> None:
    images.docker_archive(tmp_path / "image.tar", "app:1", [images.busybox_layer(), images.layer({"mark": b"x"})])
    name = f"{there.name}/theirs:1"
    moved(there, peers)
    copy = ("skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false", "--format", kind)
    peers(*copy, f"docker-archive:{tmp_path}/image.tar", f"docker://{name}").ok()
    digest = peers("crane", "digest", "--insecure", name).ok().line
    moved(there, own)
    pull(own, name)
    with DockerRegistry(inside=own.namespaces) as other:
        own.api("POST", f"/images/{name}/tag", repo=f"{other.name}/ours", tag="1").ok()
        assert push(own, f"{other.name}/ours:1").digest == digest
        assert digest_of(other.manifest("ours", "1")) == digest


def test_signatures_beside_what_was_pushed_are_found(own: Engine, there: DockerRegistry, peers: Reference, tmp_path: Path) -> None:
    """cosign signs by the digest that the push told, and verifies what it finds there."""
    name = f"{there.name}/signed:1"
    load(own, tmp_path, name, images.layer({"mark": b"signed"}))
    digest = push(own, name).digest
    moved(there, peers)
    by_digest = f"{there.name}/signed@{digest}"
    keys = tmp_path / "keys"
    keys.mkdir()
    cosign = ["env", "COSIGN_PASSWORD=", "sh", "-c", f'cd {keys} && exec cosign "$@"', "cosign"]
    peers(*cosign, "generate-key-pair").ok()
    offline = ("--allow-insecure-registry", "--allow-http-registry", "--new-bundle-format=false")
    silent = ("--tlog-upload=false", "--use-signing-config=false", "--yes")
    peers(*cosign, "sign", "--key", "cosign.key", *silent, *offline, by_digest).ok()
    verified = peers(*cosign, "verify", "--key", "cosign.pub", "--insecure-ignore-tlog", *offline, by_digest).ok()
    assert digest in verified.out
