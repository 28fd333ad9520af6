"""What a push is to do: names, platforms and indexes, what is known of layers, which manifest goes."""

import json
from typing import Any

import pytest

from pier.errors import Invalid, NotFound
from pier.images import push_plan
from pier.images.catalog import Catalog
from pier.images.image import Blob, Image, Layer
from pier.images.names import Meaning
from pier.images.push_plan import (
    Asked,
    Form,
    Part,
    Placed,
    announced,
    asked,
    forms,
    instead_of,
    is_foreign,
    kept,
    known_elsewhere,
    manifest_of,
    names,
)
from pier.images.sources import LayerSource
from pier.oci import descriptor as kinds
from pier.oci import digest as digests
from pier.oci import image_config
from pier.oci import manifest as documents
from pier.oci.descriptor import Descriptor
from pier.oci.manifest import Index, Manifest
from pier.oci.platform import Platform
from pier.oci.reference import parse

from .fakes import HOST, diff_id

D = digests.of(b"a"), digests.of(b"b"), digests.of(b"c")
TO = parse("registry:5000/app:1")


def image(name: str, *layers: str, architecture: str = HOST["architecture"]) -> Image:
    ids = [diff_id(layer) for layer in layers]
    data = json.dumps({"os": "linux", "architecture": architecture, "comment": name, "rootfs": {"diff_ids": ids}}).encode()
    return Image(digests.of(data), image_config.parse(data), data, tuple(Layer(one, 100) for one in ids))


def document(own: Image, *media: str, media_type: str = kinds.OCI_MANIFEST, config: str = kinds.OCI_CONFIG, **more: Any) -> bytes:
    """A manifest of that image with layers of these media types."""
    layers = [{"mediaType": kind, "digest": D[n], "size": 10 + n} for n, kind in enumerate(media)]
    fields = {"schemaVersion": 2, "config": {"mediaType": config, "digest": own.id, "size": 5}, "layers": layers, **more}
    return json.dumps(fields | ({"mediaType": media_type} if media_type else {})).encode()


def read(data: bytes) -> Manifest:
    found = documents.parse(data)
    assert isinstance(found, Manifest)
    return found


APP = image("app", "base", "top")


def test_what_a_request_means() -> None:
    assert asked("app", "1") == Asked(parse("app:1")) and asked("app:1", "") == Asked(parse("app:1"))
    assert asked("app", "") == Asked(parse("app"), every_tag=True)
    assert asked("app:2", "1") == Asked(parse("app:1"))
    assert not asked(f"app@{D[0]}", "").every_tag
    for name, tag in (("app", "not/a/tag"), ("BAD", ""), ("app", D[0])):
        with pytest.raises(Invalid):
            asked(name, tag)


def test_which_names_are_pushed() -> None:
    catalog = Catalog()
    catalog.put(APP)
    for name in ("app:b", "app:a", "other:1", f"app@{D[0]}"):
        catalog.give(parse(name), Meaning(None, {APP.id: None}))
    assert [str(name) for name in names(catalog, asked("app", ""))] == ["app:a", "app:b"]
    assert names(catalog, asked("app", "b")) == [parse("app:b")]
    for name, tag, said in (
        ("app", "c", "tag does not exist: app:c$"),
        ("nope", "", "An image does not exist locally with the tag: nope$"),
        ("nope", "1", "An image does not exist locally with the tag: nope$"),
    ):
        with pytest.raises(NotFound, match=said):
            names(catalog, asked(name, tag))
    with pytest.raises(Invalid, match="cannot push a digest reference"):
        names(catalog, asked(f"app@{D[0]}", ""))


def several(here: bool, there: bool) -> tuple[Catalog, Index, Image, Image]:
    """A name of an index of two platforms, of which these are here."""
    own, other = image("own", "base"), image("other", "base", architecture="riscv64")
    entries = [
        Descriptor(media_type=kinds.OCI_MANIFEST, digest=digest, size=7, platform=kinds.PlatformFields(os="linux", architecture=architecture))
        for digest, architecture in ((D[0], HOST["architecture"]), (D[1], "riscv64"))
    ]
    catalog = Catalog()
    meant: dict[str, str | None] = {}
    for one, digest, present in ((own, D[0], here), (other, D[1], there)):
        if present:
            catalog.put(one)
            meant[one.id] = digest
    catalog.give(parse("app"), Meaning(D[2], meant))
    return catalog, Index(schema_version=2, manifests=entries), own, other


def test_an_index_is_pushed_whole_or_as_the_image_for_this_machine() -> None:
    catalog, index, own, other = several(True, True)
    whole = push_plan.target(catalog, parse("app"), None, index)
    assert whole.index == D[2] and whole.instead is None and {part.image.id for part in whole.parts} == {own.id, other.id}
    one = push_plan.target(catalog, parse("app"), Platform("linux", "riscv64"), index)
    assert [(part.image.id, part.manifest) for part in one.parts] == [(other.id, D[1])] and one.index is one.instead is None
    catalog, index, own, _ = several(True, False)
    part = push_plan.target(catalog, parse("app"), None, index)
    assert part.index is None and part.instead == D[2] and [(p.image.id, p.manifest) for p in part.parts] == [(own.id, D[0])]
    with pytest.raises(NotFound, match=r"was found but its platform \(linux/.*\) does not match the specified platform \(linux/riscv64\)"):
        push_plan.target(catalog, parse("app"), Platform("linux", "riscv64"), index)
    with pytest.raises(NotFound, match="tag does not exist: nope"):
        push_plan.target(catalog, parse("nope"), None, None)


def test_an_attestation_that_is_not_here_keeps_the_index_back() -> None:
    catalog, index, own, _ = several(True, True)
    statement = Descriptor(media_type=kinds.OCI_MANIFEST, digest=digests.of(b"statement"), size=3,
                           platform=kinds.PlatformFields(os="unknown", architecture="unknown"))  # fmt: skip
    whole = Index(schema_version=2, manifests=[*index.manifests, statement])
    assert [part.image.id for part in push_plan.target(catalog, parse("app"), None, whole).parts] == [own.id]


def test_what_is_told_of_a_manifest_in_place_of_its_index() -> None:
    _, index, _, _ = several(True, False)
    data = json.dumps({"schemaVersion": 2, "manifests": [{"mediaType": kinds.OCI_MANIFEST, "digest": D[0], "size": 7}]}).encode()
    told: Any = instead_of(data, index.manifests[0], "sha256:x")
    assert told["originalIndex"] == {"mediaType": kinds.OCI_INDEX, "digest": "sha256:x", "size": len(data)}
    assert told["selectedManifest"]["platform"] == {"architecture": HOST["architecture"], "os": "linux"} and told["manifestPushedInsteadOfIndex"]


GZIP, PLAIN = kinds.OCI_LAYER_GZIP, kinds.OCI_LAYER


@pytest.mark.parametrize(
    ("data", "pulled", "is_kept"),
    [
        (document(APP, GZIP, GZIP), False, True),
        (document(APP, GZIP, PLAIN), True, True),
        (document(APP, GZIP, PLAIN), False, False),  # only an archive had it
        (document(APP, GZIP), True, False),
        (document(image("other", "base", "top"), GZIP, GZIP), True, False),
        (json.dumps({"schemaVersion": 2, "manifests": []}).encode(), True, False),
    ],
    ids=["gzip", "plain, pulled", "plain, loaded", "fewer layers", "another image", "an index"],
)
def test_which_manifests_are_sent_as_they_are(data: bytes, pulled: bool, is_kept: bool) -> None:
    assert (kept(data, Part(APP, D[0]), pulled) is not None) == is_kept


def test_a_registry_has_had_what_carries_its_digest() -> None:
    catalog = Catalog()
    catalog.put(APP)
    catalog.give(parse("app:1"), Meaning(None, {APP.id: D[0]}))
    assert not known_elsewhere(catalog, Part(_now(catalog), D[0]))
    catalog.give(parse(f"app@{D[2]}"), Meaning(D[2], {APP.id: D[0]}))
    assert known_elsewhere(catalog, Part(_now(catalog), D[0])) and not known_elsewhere(catalog, Part(_now(catalog), D[1]))


def _now(catalog: Catalog) -> Image:
    found = catalog.get(APP.id)
    assert found
    return found


def source(digest: str, repository: str, media_type: str = GZIP) -> LayerSource:
    return LayerSource(diff_id("base"), digest, 10, media_type, parse(repository).repository)


def test_what_is_known_of_a_layer_is_tried_in_the_likeliest_order() -> None:
    here = Layer(diff_id("base"), 5, (Blob(D[1], GZIP),))
    other, more = source(D[2], "registry:5000/other"), source(D[2], "registry:5000/more")
    seen = [other, source(D[0], "registry:5000/app"), source(D[1], "elsewhere:5000/app"), more]
    found = forms(here, None, seen, TO)
    assert [form.digest for form in found] == [D[0], D[1], D[2]] and [form.kept for form in found] == [False, True, False]
    assert [str(name) for name in found[2].repositories] == ["registry:5000/other", "registry:5000/more"] and found[1].repositories == ()
    # An uncompressed form is nothing to choose, but may be what a manifest wants.
    assert forms(Layer(diff_id("base"), 5), None, [source(D[0], "registry:5000/app", PLAIN)], TO) == ()
    wanted = Descriptor(media_type=GZIP, digest=D[1], size=77)
    assert forms(here, wanted, seen, TO) == (Form(D[1], GZIP, 77, kept=True),)
    assert len(forms(here, None, [source(digests.of(bytes([n])), "registry:5000/app") for n in range(50)], TO)) == 8


def placed(*media: str) -> list[Placed]:
    return [Placed(diff_id(str(n)), D[n], 10 + n, kind, "Pushed") for n, kind in enumerate(media)]


def test_a_new_manifest_is_laid_out_as_docker_s() -> None:
    data, media_type = manifest_of(APP, placed(GZIP, kinds.DOCKER_LAYER_GZIP), None)
    assert media_type == kinds.DOCKER_MANIFEST == read(data).media_type
    assert data.decode().splitlines()[:7] == [
        "{",
        '   "schemaVersion": 2,',
        f'   "mediaType": "{kinds.DOCKER_MANIFEST}",',
        '   "config": {',
        f'      "mediaType": "{kinds.DOCKER_CONFIG}",',
        f'      "size": {len(APP.config_bytes)},',
        f'      "digest": "{APP.id}"',
    ]
    assert [(layer.media_type, layer.digest, layer.size) for layer in read(data).layers] == [
        (kinds.DOCKER_LAYER_GZIP, D[0], 10), (kinds.DOCKER_LAYER_GZIP, D[1], 11),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("media", "before"),
    [
        ((GZIP, kinds.OCI_LAYER_ZSTD), None),
        ((GZIP, kinds.DOCKER_LAYER_GZIP), document(APP, GZIP, GZIP)),
        ((GZIP, GZIP), document(APP, GZIP, GZIP, media_type="")),
    ],
    ids=["zstd", "OCI before", "OCI that does not say so"],
)
def test_a_new_manifest_is_oci_s_where_docker_s_cannot_be(media: tuple[str, ...], before: bytes | None) -> None:
    data, media_type = manifest_of(APP, placed(*media), read(before) if before else None)
    found = read(data)
    assert media_type == kinds.OCI_MANIFEST and found.config.media_type == kinds.OCI_CONFIG
    assert {layer.media_type for layer in found.layers} <= {GZIP, kinds.OCI_LAYER_ZSTD}


def test_a_document_without_a_media_type_is_announced_by_what_it_holds() -> None:
    assert announced(read(document(APP, GZIP, media_type=""))) == kinds.OCI_MANIFEST
    assert announced(read(document(APP, GZIP, media_type="", config=kinds.DOCKER_CONFIG))) == kinds.DOCKER_MANIFEST
    assert announced(Index(schema_version=2, manifests=[])) == kinds.OCI_INDEX


def test_foreign_layers() -> None:
    foreign = Descriptor(media_type=kinds.DOCKER_FOREIGN_LAYER, digest=D[0], size=1, urls=["https://example.com/x"])
    assert is_foreign(foreign) and not is_foreign(None)
    assert not is_foreign(Descriptor(media_type=kinds.DOCKER_FOREIGN_LAYER, digest=D[0], size=1))
    assert not is_foreign(Descriptor(media_type=GZIP, digest=D[0], size=1, urls=["https://example.com/x"]))
