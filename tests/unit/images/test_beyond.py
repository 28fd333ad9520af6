"""What is decided for squash, diff and check before anything is touched."""

from typing import Any

import pytest

from pier.errors import Invalid
from pier.images.check_plan import parts
from pier.images.diff import differences
from pier.images.image import Blob, Image, Layer
from pier.images.names import Meaning
from pier.images.squash import first_layer, squashed
from pier.oci import digest as digests
from pier.oci import image_config
from pier.oci.image_config import ContainerDefaults, History, ImageConfig, RootFS
from pier.oci.reference import parse

DIFF_IDS = ["sha256:" + text * 64 for text in "abc"]


def made(names: tuple[str, ...] = (), config: ContainerDefaults | None = None, **fields: Any) -> Image:
    steps = [History(created_by="one"), History(created_by="env", empty_layer=True), History(created_by="two"), History(created_by="three")]
    said = {"architecture": "amd64", "created": "2026-01-01T00:00:00Z", "config": config or ContainerDefaults(), "history": steps, **fields}
    document = ImageConfig(rootfs=RootFS(diff_ids=DIFF_IDS), **said)
    data = image_config.encode(document)
    layers = tuple(Layer(diff_id, 10, (Blob("sha256:" + diff_id[7] * 32 + "0" * 32, "gzip"),)) for diff_id in DIFF_IDS)
    return Image(digests.of(data), document, data, layers, tuple(parse(name) for name in names), manifest="sha256:" + "9" * 64)


@pytest.mark.parametrize(("since", "first"), [("", 0), ("1", 0), ("2", 1), ("sha256:aaaa", 0), ("bbbbb", 1), (DIFF_IDS[1], 1)])
def test_the_lowest_layer_to_squash(since: str, first: int) -> None:
    assert first_layer(made(), since) == first


@pytest.mark.parametrize("since", ["3", DIFF_IDS[2], "4", "0", "-1", "dddd", "nonsense", "99999", "٢"])
def test_there_must_be_two_layers_to_make_one_of(since: str) -> None:
    with pytest.raises(Invalid, match=r"nothing to squash|has no layer"):
        first_layer(made(), since)


@pytest.mark.parametrize("first", [0, 1])
def test_a_squashed_image_keeps_its_history_and_the_layers_below(first: int) -> None:
    image = made(("app:1",))
    answer = {"diff_id": "sha256:" + "f" * 64, "size": 5, "dir": "layers/0"}
    new = squashed(image, first, answer, parse("app:2"))
    again = image_config.parse(new.config_bytes)
    assert list(again.diff_ids) == [*DIFF_IDS[:first], answer["diff_id"]] == [layer.diff_id for layer in new.layers]
    assert [step.empty_layer for step in again.history] == [first == 0, True, True, True, False]
    assert again.created == image.created and again.history[-1].created == image.created and new.parent == ""
    assert new == squashed(image, first, answer, parse("app:2"))


def test_configurations_are_compared_field_by_field() -> None:
    one = made(config=ContainerDefaults(env=["A=1", "B=2"], cmd=["x"], labels={"k": "v"}, hostname="h", user="")).config
    other = made(config=ContainerDefaults(env=["B=3", "A=1", "C="], cmd=["x"], labels={"n": "w"}, user="u"), author="me").config
    assert differences(one, other) == [
        {"Name": "Author", "From": None, "To": "me"},
        {"Name": "Env.B", "From": "2", "To": "3"},
        {"Name": "Labels.k", "From": "v", "To": None},
        {"Name": "Labels.n", "From": None, "To": "w"},
        {"Name": "User", "From": None, "To": "u"},
    ]
    assert differences(one, one) == []


def test_what_images_stand_on_is_verified_once_and_layers_last() -> None:
    image, other = made(("app:1",)), made((), author="other")
    index = "sha256:" + "8" * 64
    found = parts([image, other], [Meaning(index, {image.id: image.manifest})], {"sha256:" + "7" * 64: ["lost:1"]})
    assert [part.kind for part in found] == ["configuration"] * 3 + ["manifest", "index"] + ["blob"] * 3 + ["layer"] * 3
    named = {part.digest: part.images for part in found}
    assert named[index] == ("app:1",) and named[DIFF_IDS[0]] == ("app:1", other.id[7:19]) and named["sha256:" + "7" * 64] == ("lost:1",)
    assert {part.diff_id for part in found if part.kind == "blob"} == set(DIFF_IDS)
