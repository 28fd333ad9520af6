"""Digests, platforms, manifests, indexes and image configurations."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.errors import Invalid
from pier.oci import digest, image_config, manifest, platform
from pier.oci.descriptor import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Descriptor, PlatformFields
from pier.oci.platform import Platform

D = "sha256:" + "a" * 64
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def describe(kind: str = "x", **more: Any) -> dict[str, Any]:
    return {"mediaType": kind, "digest": D, "size": 1, **more}


def text(**fields: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, **fields}).encode()


def test_digests() -> None:
    assert digest.of(b"") == "sha256:" + hashlib.sha256(b"").hexdigest()
    assert digest.check(D) == D
    for bad, why in ((D[:-1], "length"), ("sha256:" + "A" * 64, "format"), ("md5:" + "0" * 32, "unsupported"), ("sha256", "format"), ("", "format")):
        with pytest.raises(Invalid, match=why):
            digest.check(bad)
    assert not digest.is_sha256(D + "\n") and not digest.is_sha256("sha256:../" + "a" * 61)


def test_chain_ids_are_those_of_the_specification() -> None:
    one, two = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    assert digest.chain_id(()) == ""
    assert digest.chain_id((one,)) == one
    assert digest.chain_id((one, two)) == "sha256:" + hashlib.sha256(f"{one} {two}".encode()).hexdigest()


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("LINUX/ARM", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/i686", "linux/386"),
        ("arm64", "linux/arm64"),
        ("macos/arm64", "darwin/arm64"),
    ],
)
def test_platforms_are_normalised(given_text: str, expected: str) -> None:
    assert str(platform.parse(given_text)) == expected


@pytest.mark.parametrize(
    ("bad", "why"),
    [("foobar", '"foobar": unknown operating system or architecture: invalid argument'), ("a/b/c/d", "cannot parse platform specifier"),
     ("linux/", "component"), ("linux/a b", "component"), ("*", "wildcards")],
)  # fmt: skip
def test_bad_platforms_are_refused(bad: str, why: str) -> None:
    with pytest.raises(Invalid) as caught:
        platform.parse(bad)
    assert why in str(caught.value)


def test_platforms_match_with_variants() -> None:
    def runs(machine: str, image: str) -> bool:
        return platform.parse(machine).runs(platform.parse(image))

    assert runs("linux/amd64", "linux/amd64") and not runs("linux/amd64", "linux/arm64")
    assert runs("linux/arm/v7", "linux/arm/v6") and not runs("linux/arm/v6", "linux/arm/v7")
    assert runs("linux/arm64", "linux/arm64/v8") and not runs("linux/arm64", "linux/arm64/v9")
    assert platform.host() == Platform(platform.host().os, platform.host().architecture, platform.host().variant)


@pytest.mark.parametrize("kind", [OCI_MANIFEST, DOCKER_MANIFEST, ""])
def test_a_manifest_of_either_family(kind: str) -> None:
    found = manifest.parse(text(**({"mediaType": kind} if kind else {}), config=describe(), layers=[describe()]), kind)
    assert isinstance(found, manifest.Manifest) and found.config.digest == D
    assert manifest.media_type_of(found) == (kind or OCI_MANIFEST)


@pytest.mark.parametrize("kind", [OCI_INDEX, DOCKER_INDEX])
def test_an_index_of_either_family(kind: str) -> None:
    entry = describe(OCI_MANIFEST, platform={"os": "linux", "architecture": "arm64", "os.version": "1"})
    found = manifest.parse(text(mediaType=kind, manifests=[entry]))
    assert isinstance(found, manifest.Index) and found.manifests[0].platform == PlatformFields(os="linux", architecture="arm64", os_version="1")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (text(mediaType=OCI_MANIFEST, config=describe(), layers=[], manifests=[]), "both"),
        (text(mediaType=OCI_INDEX, config=describe(), layers=[]), "does not fit an image manifest"),
        (text(mediaType=OCI_MANIFEST, manifests=[]), "does not fit an index"),
        (b'{"schemaVersion": 1, "fsLayers": []}', "schema version 1"),
        (b'{"schemaVersion": 3, "layers": []}', "unknown schema version 3"),
        (text(config=describe(digest="sha256:x"), layers=[]), "config"),
        (text(config=describe(), layers=[describe(size=-1)]), "layer 0"),
        (text(config=describe(), layers=[describe()] * 501), "501 layers"),
        (text(layers=[]), "config"),
        (b"[]", "manifest"),
        (b"\xff", "manifest"),
        (b"[" * 100_000, "manifest"),
        (b" " * (4 << 20) + b"{}", "the limit"),
    ],
)
def test_bad_manifests_are_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        manifest.parse(data)


def test_a_manifest_must_be_what_it_was_announced_as() -> None:
    with pytest.raises(Invalid, match="announced"):
        manifest.parse(text(mediaType=OCI_MANIFEST, config=describe(), layers=[]), DOCKER_MANIFEST)


def test_attestations_are_told_from_images() -> None:
    plain = Descriptor(media_type=OCI_MANIFEST, digest=D, size=1)
    assert not manifest.is_attestation(plain)
    unknown = PlatformFields(os="unknown", architecture="unknown")
    assert manifest.is_attestation(Descriptor(media_type=OCI_MANIFEST, digest=D, size=1, platform=unknown))


def test_a_configuration_may_have_null_wherever_go_allows_it() -> None:
    found = image_config.parse(json.dumps({
        "architecture": "aarch64", "os": "linux", "created": None, "history": None, "variant": None, "unknown": {"a": 1},
        "config": {"Cmd": None, "Env": None, "Labels": None, "Healthcheck": None, "WorkingDir": None, "ExposedPorts": {"80/tcp": {}}},
        "rootfs": {"type": "layers", "diff_ids": [D]},
    }).encode())  # fmt: skip
    assert found.diff_ids == (D,) and str(found.platform) == "linux/arm64"
    assert found.config.cmd is None and found.config.working_dir == "" and found.config.exposed_ports == {"80/tcp": {}}
    assert image_config.parse(b'{"config":null,"rootfs":null}').diff_ids == ()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"{", "image configuration"),
        (b"[]", "image configuration"),
        (b'{"rootfs":{"type":"squash"}}', "squash"),
        (b'{"rootfs":{"diff_ids":["sha256:../../x"]}}', "diff ID"),
        (b'{"rootfs":{"diff_ids":[]},"history":[{}]}', "history has 1"),
        (b'{"config":{"Env":[1]}}', "Env"),
        (b'{"config":{"Env":[null]}}', "Env"),
        (b'{"config":' * 100_000, "image configuration"),
        (json.dumps({"rootfs": {"diff_ids": [D] * 501}}).encode(), "501 layers"),
    ],
)
def test_bad_configurations_are_refused_with_the_place(data: bytes, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        image_config.parse(data)


def test_a_configuration_that_was_written_reads_the_same() -> None:
    config = image_config.ImageConfig(
        architecture="amd64",
        created="2026-01-01T00:00:00Z",
        config=image_config.ContainerDefaults(cmd=["sh"], env=["A=b"], healthcheck=image_config.Healthcheck(test=["NONE"])),
        rootfs=image_config.RootFS(diff_ids=[D]),
        history=[image_config.History(created_by="x")],
    )
    data = image_config.encode(config)
    assert image_config.parse(data) == config
    assert image_config.encode(image_config.parse(data)) == data
    assert "Hostname" not in json.loads(data)["config"]


@given(json_values)
def test_any_json_is_a_document_or_refused(value: object) -> None:
    data = json.dumps(value).encode()
    for read in (image_config.parse, manifest.parse):
        try:
            read(data)
        except Invalid:
            continue


@given(st.binary(max_size=64))
def test_any_bytes_are_a_document_or_refused(data: bytes) -> None:
    for read in (image_config.parse, manifest.parse):
        with pytest.raises(Invalid):
            read(b"!" + data)
