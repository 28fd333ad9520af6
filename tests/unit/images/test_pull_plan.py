"""What a pull decides before anything is fetched."""

import json
from typing import Any

import msgspec
import pytest

from pier.errors import Forbidden, Invalid
from pier.images import pull_plan
from pier.images.pull_manifest import chosen
from pier.images.pull_plan import Asked, asked, candidates
from pier.oci import digest as digests
from pier.oci import image_config
from pier.oci import manifest as manifests
from pier.oci import platform as platforms
from pier.oci.descriptor import DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_LAYER_GZIP, OCI_MANIFEST
from pier.oci.manifest import Index, Manifest
from pier.oci.reference import parse

DIGEST = digests.of(b"x")


@pytest.mark.parametrize(
    ("image", "tag", "reference", "every"),
    [
        ("app", "1", "app:1", False),
        ("app", "", "app", True),
        ("app:2", "", "app:2", False),
        ("app:2", "1", "app:1", False),
        ("app", DIGEST, f"app@{DIGEST}", False),
        ("app:2", DIGEST, f"app@{DIGEST}", False),
        (f"app@{DIGEST}", "", f"app@{DIGEST}", False),
        (f"app:2@{DIGEST}", "", f"app:2@{DIGEST}", False),
        (f"app@{DIGEST}", "1", f"app@{DIGEST}", False),
        ("127.0.0.1:5000/a/b", "x", "127.0.0.1:5000/a/b:x", False),
        ("docker.io/library/app", "1", "app:1", False),
    ],
)
def test_what_is_asked_for(image: str, tag: str, reference: str, every: bool) -> None:
    assert asked(image, tag) == Asked(parse(reference), every)


@pytest.mark.parametrize(
    ("image", "tag", "error", "text"),
    [
        ("scratch", "latest", Forbidden, "'scratch' is a reserved name"),
        ("UPPER", "", Invalid, "repository name (library/UPPER) must be lowercase"),
        ("app", "b@d", Invalid, "invalid tag format"),
        ("app", "sha256:1234", Invalid, "invalid tag format"),
        ("", "1", Invalid, "invalid reference format"),
        ("a" * 64, "1", Invalid, "cannot specify 64-byte hexadecimal strings"),
    ],
)
def test_what_cannot_be_asked_for(image: str, tag: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as raised:
        asked(image, tag)
    assert text in str(raised.value)


def index(*names: str, **fields: Any) -> Index:
    """Entries for these platforms; "" says none, "index ..." is an index for it, "attestation" a statement."""
    entries = []
    for name in names:
        inner, _, platform = name.rpartition(" ")
        entry: dict[str, Any] = {"mediaType": OCI_INDEX if inner == "index" else OCI_MANIFEST, "digest": digests.of(name.encode()), "size": 5}
        if platform == "attestation":
            entry |= {"platform": {"os": "unknown", "architecture": "unknown"}}
        elif platform:
            system, machine, variant = (*platform.split("/"), "")[:3]
            entry |= {"platform": {"os": system, "architecture": machine, "variant": variant}}
        entries.append(entry | fields)
    found = manifests.parse(json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode())
    assert isinstance(found, Index)
    return found


@pytest.mark.parametrize(
    ("names", "wanted", "expected"),
    [
        (["linux/arm64", "linux/amd64"], "linux/amd64", ["linux/amd64"]),
        (["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], "linux/arm/v7", ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
        (["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], "linux/arm/v6", ["linux/arm/v6", "linux/arm/v5"]),
        (["linux/arm64/v8", "linux/arm"], "linux/arm64", ["linux/arm64/v8", "linux/arm"]),
        (["linux/arm/v7", "linux/arm/v6"], "linux/arm64", ["linux/arm/v7", "linux/arm/v6"]),
        (["linux/386", "linux/amd64"], "linux/amd64", ["linux/amd64", "linux/386"]),
        (["linux/amd64/v3", "linux/amd64", "linux/amd64/v2"], "linux/amd64/v2", ["linux/amd64/v2", "linux/amd64"]),
        (["linux/amd64/v3", "linux/amd64"], "linux/amd64", ["linux/amd64"]),
        (["linux/x86_64", "linux/aarch64"], "linux/arm64", ["linux/aarch64"]),
        (["windows/amd64", "attestation"], "linux/amd64", []),
        (["", "linux/amd64"], "linux/amd64", ["linux/amd64", ""]),
        (["index linux/amd64", "linux/arm64", "index "], "linux/amd64", ["index linux/amd64", "index "]),
        ([], "linux/amd64", []),
    ],
)
def test_the_best_of_an_index(names: list[str], wanted: str, expected: list[str]) -> None:
    found = candidates(index(*names), platforms.parse(wanted))
    assert [entry.digest for entry in found] == [digests.of(name.encode()) for name in expected]


def test_what_is_no_image_in_an_index_is_passed_over() -> None:
    assert candidates(index("linux/amd64", mediaType="application/vnd.example+json"), platforms.parse("linux/amd64")) == []
    noted = index("linux/amd64", annotations={"vnd.docker.reference.type": "attestation-manifest"})
    assert candidates(noted, platforms.parse("linux/amd64")) == []


def test_nothing_fits() -> None:
    error = pull_plan.no_match(index("linux/arm64", "windows/amd64", "attestation", "linux/a\x1bb"), platforms.parse("linux/s390x"))
    assert str(error) == "no matching manifest for linux/s390x in the manifest list entries: there is linux/arm64, windows/amd64, linux/a\\x1bb"
    assert error.status == 404


@pytest.mark.parametrize(
    ("names", "expected"), [(["linux/arm64", "linux/amd64"], "linux/amd64"), (["index linux/amd64"], None), (["linux/arm64"], None), ([""], "")]
)
def test_what_an_index_that_is_here_would_give(names: list[str], expected: str | None) -> None:
    assert chosen(index(*names), platforms.parse("linux/amd64")) == (None if expected is None else digests.of(expected.encode()))


def manifest(layers: int = 1, **changes: Any) -> Manifest:
    config = {"mediaType": OCI_CONFIG, "digest": DIGEST, "size": 100} | changes.pop("config", {})
    layer = {"mediaType": OCI_LAYER_GZIP, "digest": digests.of(b"layer"), "size": 10} | changes.pop("layer", {})
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer] * layers, **changes}
    found = manifests.parse(json.dumps(document).encode())
    assert isinstance(found, Manifest)
    return found


def test_an_image() -> None:
    pull_plan.check_image(manifest(3))
    pull_plan.check_image(manifest(mediaType=DOCKER_MANIFEST, config={"mediaType": "application/octet-stream"}, layer={"mediaType": OCI_LAYER}))
    pull_plan.check_image(manifest(0))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}, "unsupported media type application/vnd.cncf.helm.config.v1+json"),
        (
            {"config": {"mediaType": "application/vnd.oci.empty.v1+json"}, "artifactType": "application/x.sbom"},
            "it is an artifact (application/x.sbom) and no image: unsupported media type application/vnd.oci.empty.v1+json",
        ),
        ({"layer": {"mediaType": "text/plain"}}, f"layer {digests.of(b'layer')}: unsupported media type text/plain"),
        ({"layer": {"mediaType": OCI_LAYER_GZIP + "+encrypted"}}, "unsupported media type application/vnd.oci.image.layer.v1.tar+gzip+encrypted"),
        ({"layer": {"mediaType": "x\x1b[31m\n"}}, "unsupported media type x\\x1b[31m\\n"),
        ({"layer": {"size": 0}}, "a size of 0 bytes"),
        ({"layer": {"size": 1 << 50}}, f"a size of {1 << 50} bytes"),
        ({"layer": {"digest": "sha512:" + "0" * 128}}, "only sha256 digests are supported"),
        ({"config": {"digest": "sha512:" + "0" * 128}}, "only sha256 digests are supported"),
        ({"config": {"size": 9 << 20}}, "its configuration has 9437184 bytes: the limit is 8388608"),
    ],
)
def test_what_is_no_image_is_said(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(Invalid) as raised:
        pull_plan.check_image(manifest(**changes))
    assert text in str(raised.value)


def test_a_layer_has_one_size() -> None:
    found = manifest(2)
    other = found.layers[0]
    twice = msgspec.structs.replace(found, layers=[other, msgspec.structs.replace(other, size=11)])
    with pytest.raises(Invalid, match="it is named twice, with 10 bytes and with 11"):
        pull_plan.check_image(twice)


def config(*diff_ids: str, **fields: Any) -> image_config.ImageConfig:
    return image_config.parse(json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}, **fields}).encode())


def test_the_steps_are_the_layers_in_their_places() -> None:
    one, two = digests.of(b"1"), digests.of(b"2")
    steps = pull_plan.steps(manifest(2), config(one, two))
    assert [step.diff_id for step in steps] == [one, two] and steps[0].blob.digest == digests.of(b"layer")
    pull_plan.check_layer(steps[0], one)
    with pytest.raises(Invalid, match=r"layers from manifest don't match image configuration: the tar of sha256:.* is sha256:"):
        pull_plan.check_layer(steps[0], two)
    seen = pull_plan.sources(steps, parse("127.0.0.1:5000/a/b:1"))
    assert [(source.diff_id, source.repository, source.size_bytes) for source in seen] == [
        (one, "127.0.0.1:5000/a/b", 10), (two, "127.0.0.1:5000/a/b", 10)]  # fmt: skip


@pytest.mark.parametrize(
    ("count", "found", "text"),
    [
        (2, config(DIGEST), "layers from manifest don't match image configuration: the manifest has 2, the configuration 1"),
        (1, config(DIGEST, os="windows"), 'image operating system "windows" cannot be used on this platform'),
    ],
)
def test_a_configuration_of_something_else(count: int, found: image_config.ImageConfig, text: str) -> None:
    with pytest.raises(Invalid) as raised:
        pull_plan.steps(manifest(count), found)
    assert text in str(raised.value)
