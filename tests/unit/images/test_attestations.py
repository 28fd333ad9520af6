"""What an index has about an image: which of its entries count, what they may ask for, what is known of them from what is here."""

import json
from pathlib import Path
from typing import Any

import pytest

from pier.content import ContentStore
from pier.errors import Invalid
from pier.images import attestations, load
from pier.images.names import Attestation, Meaning
from pier.oci import digest as digests
from pier.oci import manifest as documents
from pier.oci.descriptor import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from pier.oci.manifest import Index
from tests.unit.images.fakes import manifest_of, parsed

IMAGE, OTHER = digests.of(b"image"), digests.of(b"other")


def entry(data: bytes, about: str = IMAGE, **changes: Any) -> dict[str, Any]:
    notes = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": about}
    return {"mediaType": OCI_MANIFEST, "digest": digests.of(data), "size": len(data), "annotations": notes, **changes}


def index(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


def statement(*parts: tuple[bytes, int]) -> bytes:
    named = [{"mediaType": "application/vnd.in-toto+json", "digest": digests.of(data), "size": size} for data, size in parts]
    config = {"mediaType": OCI_CONFIG, "digest": digests.of(b"{}"), "size": 2}
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": named}).encode()


def test_only_what_says_that_it_is_about_the_image_counts() -> None:
    data = index(
        entry(b"1"), entry(b"1"), entry(b"2", OTHER), entry(b"3", annotations={"vnd.docker.reference.type": "attestation-manifest"}),
        entry(b"4", mediaType=OCI_INDEX), entry(b"5", annotations=None), entry(b"6", annotations={"vnd.docker.reference.digest": IMAGE}),
        entry(b"7", digest="sha512:" + "a" * 128), *(entry(b"more %d" % number) for number in range(20)),
    )  # fmt: skip
    document = documents.parse(data)
    assert isinstance(document, Index)
    found = [one.digest for one in attestations.entries(document, IMAGE)]
    assert found == [digests.of(data) for data in (b"1", *(b"more %d" % number for number in range(attestations.MOST - 1)))]
    assert [one.digest for one in attestations.entries(document, OTHER)] == [digests.of(b"2")]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (index(), "an attestation is a manifest, this is an index"),
        (statement(*((b"%d" % number, 1) for number in range(attestations.MOST_BLOBS))), "at most 64 parts of 256 MB"),
        (statement((b"1", attestations.MOST_BYTES)), "at most 64 parts of 256 MB"),
        (b"{}", "unknown schema version 0"),
        (statement((b"1", 1)).replace(digests.of(b"1").encode(), b"sha512:" + b"a" * 128), "only sha256 digests"),
    ],
)
def test_what_is_none_or_asks_for_too_much(data: bytes, text: str) -> None:
    with pytest.raises(Invalid, match=text):
        attestations.of_document(data)


def test_what_is_here_is_known_by_its_documents(tmp_path: Path) -> None:
    content = ContentStore(tmp_path / "content")
    whole, damaged, absent = statement((b"a", 1), (b"a", 1)), statement((b"b", 1)), statement((b"c", 1))
    by = content.write(index(entry(whole), entry(damaged), entry(absent)))
    content.write(whole)
    place = content.path(content.write(damaged))
    place.chmod(0o600)
    place.write_bytes(b"?")
    parts = (digests.of(b"{}"), digests.of(b"a"))
    assert attestations.kept(content, by, IMAGE) == (Attestation(digests.of(whole), parts), Attestation(digests.of(damaged), ()))
    assert attestations.kept(content, by, OTHER) == attestations.kept(content, None, IMAGE) == attestations.kept(content, OTHER, IMAGE) == ()
    document = documents.parse(content.read(by))
    assert isinstance(document, Index)
    meaning = Meaning(by, {"id": IMAGE}, {"id": attestations.kept(content, by, IMAGE)})
    assert not attestations.are_here(content, document, meaning, "id"), "one is missing"
    content.write(absent)
    for data in (b"{}", b"a", b"b", b"c"):
        assert not attestations.are_here(content, document, Meaning(by, {"id": IMAGE}, {"id": attestations.kept(content, by, IMAGE)}), "id")
        content.write(data)
    place.unlink()
    content.write(damaged)
    assert attestations.are_here(content, document, Meaning(by, {"id": IMAGE}, {"id": attestations.kept(content, by, IMAGE)}), "id")


def test_meanings_keep_them_with_their_image() -> None:
    about = {"a": (Attestation("m", ("x", "y")),), "b": (Attestation("n", ("x",)),)}
    meaning = Meaning("i", {"a": "1"}, {"a": about["a"]}).joined(Meaning("i", {"b": "2"}, {"b": about["b"]}))
    assert meaning.attestations == about and meaning.documents() == {"i", "1", "2", "m", "n", "x", "y"}
    assert meaning.without("a").documents() == {"i", "2", "n", "x"}


def test_a_worker_is_not_believed_about_whom_they_are() -> None:
    image = parsed("here", ["a"])
    said = statement((b"a", 1))
    own = digests.of(manifest_of(image["config_digest"]))
    documents_ = {"manifest": manifest_of(image["config_digest"]), "index": index(entry(said, own))}
    answer = image | {name: data.decode() for name, data in documents_.items()} | {"attestations": [said.decode()]}
    (found,) = load.from_answer({"images": [answer]})
    assert found.attestations == (attestations.of_document(said),)
    with pytest.raises(Invalid, match="its attestations are of another image"):
        load.from_answer({"images": [answer | {"index": index(entry(said, OTHER)).decode()}]})
    with pytest.raises(Invalid, match="its attestations are of another image"):
        load.from_answer({"images": [answer | {"index": None}]})
