"""What an image stands on, to be verified piece by piece, and what is said of a piece that is broken. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pier.images.image import Image
from pier.images.names import Meaning, short_id

DOCUMENTS = ("configuration", "manifest", "index", "attestation", "statement")


@dataclass(frozen=True)
class Part:
    """One thing in the content store ("configuration", "manifest", "index", "attestation": such a manifest, "statement": what it names, "blob") or
    in the layer store ("layer").

    images: the names (without one the short ID) of those that stand on it. diff_id: of a blob the layer that it is a compressed form of.
    """

    kind: str
    digest: str
    images: tuple[str, ...]
    media_type: str = ""
    diff_id: str = ""


@dataclass(frozen=True)
class Problem:
    """What is wrong with a part. index: the right index in the scratch folder, where nothing else is wrong with a layer."""

    text: str
    index: str = ""


@dataclass
class Report:
    """The outcome, as the API writes it (`to_wire`)."""

    images: int = 0
    parts: int = 0
    bytes: int = 0
    broken: list[dict[str, Any]] = field(default_factory=list)

    def add(self, part: Part, problem: Problem, repaired: str | None, advice: str, registries: Iterable[str]) -> None:
        """One broken part. repaired: how, None where it is broken still; registries: where it might be had from."""
        self.broken.append(
            {
                "Kind": part.kind,
                "Digest": part.digest,
                "Images": list(part.images),
                "Problem": problem.text,
                "Repaired": repaired is not None,
                "How": repaired or "",
                "Advice": advice,
                "Registries": sorted(set(registries)),
            }
        )

    def to_wire(self) -> dict[str, Any]:
        """The JSON object."""
        return {"Images": self.images, "Parts": self.parts, "Bytes": self.bytes, "Broken": self.broken}


def parts(images: Sequence[Image], meanings: Iterable[Meaning], lost: Mapping[str, Sequence[str]]) -> list[Part]:
    """Each thing once: documents first, then compressed forms, layers last, so that what comes later can be made of what came before.

    meanings: what the images' names stand for. lost: IDs of images whose configuration cannot be read -> their names.
    """
    users: dict[tuple[str, str], list[str]] = {}
    details: dict[tuple[str, str], tuple[str, str]] = {}

    def note(kind: str, digest: str, name: str, media_type: str = "", diff_id: str = "") -> None:
        names = users.setdefault((kind, digest), [])
        if name not in names:
            names.append(name)
        details[kind, digest] = (media_type, diff_id)

    for identity, names in lost.items():
        for name in names or (short_id(identity),):
            note("configuration", identity, name)
    by_id = {image.id: image for image in images}
    for image in images:
        name = called(image)
        note("configuration", image.id, name)
        if image.manifest:
            note("manifest", image.manifest, name)
        for layer in image.layers:
            note("layer", layer.diff_id, name)
            for blob in layer.blobs:
                note("blob", blob.digest, name, blob.media_type, layer.diff_id)
    for meaning in meanings:
        for identity, manifest in meaning.images.items():
            if identity in by_id:
                if manifest:
                    note("manifest", manifest, called(by_id[identity]))
                if meaning.index:
                    note("index", meaning.index, called(by_id[identity]))
                for about in meaning.attestations.get(identity, ()):
                    note("attestation", about.manifest, called(by_id[identity]))
                    for digest in about.blobs:
                        note("statement", digest, called(by_id[identity]))
    order = {kind: number for number, kind in enumerate((*DOCUMENTS, "blob", "layer"))}
    found = [Part(kind, digest, tuple(names), *details[kind, digest]) for (kind, digest), names in users.items()]
    return sorted(found, key=lambda part: order[part.kind])


def called(image: Image) -> str:
    """How an image is named in a report."""
    return str(image.references[0]) if image.references else short_id(image.id)


def advice(part: Part, tried: str) -> str:
    """What is left to do for a part that could not be repaired. tried: why not, "" where nothing was tried."""
    names = " ".join(part.images)
    why = f"{tried}: " if tried else ""
    return f"{why}remove the image (pier rmi {names}) and pull, load or build it again"
