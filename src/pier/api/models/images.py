"""Wire types of the image routes, as an engine answers them at API 1.51; `*_at` puts them into the words of an older version.

Sources: engine-api-v1.51.yaml (ImageSummary, ImageInspect, ImageHistoryResponseItem, ImageDeleteResponseItem) and answers of a 28.5 engine.
"""

from typing import Any

import msgspec

from pier.api.models.base import Model

Version = tuple[int, int]


class IdResponse(Model, kw_only=True):
    """The ID of what was made."""

    id: str


class CheckRequest(Model, kw_only=True):
    """POST /pier/images/check: names of images, all where there are none; digests: only these of what they stand on."""

    names: list[str] = msgspec.field(default_factory=list)
    digests: list[str] = msgspec.field(default_factory=list)
    repair: bool = False


class ManifestSize(Model, kw_only=True):
    """Bytes on the disk: in the content store, and with the layers as containers use them."""

    content: int
    total: int


class UnpackedSize(Model, kw_only=True):
    """Bytes on the disk of the layers as containers use them."""

    unpacked: int


class ImageData(Model, kw_only=True):
    """What a manifest of an image says more. containers: IDs of those that use it."""

    platform: dict[str, Any]
    size: UnpackedSize
    containers: list[str]


class AttestationData(Model, kw_only=True):
    """What a manifest of an attestation says more: the digest of the manifest that it is about."""

    for_: str = msgspec.field(name="For")


class ManifestSummary(Model, kw_only=True):
    """One manifest of an index, or the one of an image without index. available: whether all of it is here."""

    id: str = msgspec.field(name="ID")
    descriptor: dict[str, Any]
    available: bool
    size: ManifestSize
    kind: str  # image, attestation, unknown
    image_data: ImageData | msgspec.UnsetType = msgspec.UNSET
    attestation_data: AttestationData | msgspec.UnsetType = msgspec.UNSET


class ImageSummary(Model, kw_only=True):
    """One line of GET /images/json. Sizes in bytes; -1 means not computed."""

    containers: int
    created: int  # s since the epoch
    id: str
    labels: dict[str, str] | None
    parent_id: str
    descriptor: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    manifests: list[ManifestSummary] | msgspec.UnsetType = msgspec.UNSET
    repo_digests: list[str]
    repo_tags: list[str]
    shared_size: int
    size: int


class GraphDriver(Model, kw_only=True):
    """Where the layers are."""

    data: dict[str, str] | None
    name: str


class RootFS(Model, kw_only=True, omit_defaults=True):
    """The layers' diff IDs, the bottom one first."""

    type: str
    layers: list[str] = msgspec.field(default_factory=list)


class Metadata(Model, kw_only=True):
    """What is known here and not in the image."""

    last_tag_time: str


class ImageInspect(Model, kw_only=True):
    """GET /images/{name}/json. `config` has the OCI document's names, with the eight that are always there."""

    id: str
    repo_tags: list[str]
    repo_digests: list[str]
    parent: str
    comment: str
    created: str | msgspec.UnsetType = msgspec.UNSET
    docker_version: str
    author: str
    architecture: str
    variant: str | msgspec.UnsetType = msgspec.UNSET
    os: str
    os_version: str | msgspec.UnsetType = msgspec.UNSET
    size: int
    graph_driver: GraphDriver
    root_fs: RootFS = msgspec.field(name="RootFS")
    metadata: Metadata
    descriptor: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    manifests: list[ManifestSummary] | msgspec.UnsetType = msgspec.UNSET
    config: dict[str, Any]


class HistoryItem(Model, kw_only=True):
    """One step of GET /images/{name}/history, the newest first."""

    comment: str
    created: int  # s since the epoch
    created_by: str
    id: str
    size: int
    tags: list[str] | None


class DeleteItem(Model, kw_only=True, omit_defaults=True):
    """One thing that a removal took away: a name, or an image or layer."""

    untagged: str = ""
    deleted: str = ""


class PruneReport(Model, kw_only=True):
    """POST /images/prune."""

    images_deleted: list[DeleteItem] | None
    space_reclaimed: int


class ProgressDetail(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How far something is, in bytes."""

    current: int = 0
    total: int = 0


# Members of `Config` that versions before 1.50 always wrote, whatever the image had.
_LEGACY_CONFIG: dict[str, Any] = {
    "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False, "AttachStderr": False, "Tty": False,
    "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": None, "Image": "", "Volumes": None, "WorkingDir": "", "Entrypoint": None,
    "OnBuild": None, "Labels": None,
}  # fmt: skip


def summary_at(summary: ImageSummary, version: Version) -> dict[str, Any]:
    """A summary as a client of `version` expects it."""
    body: dict[str, Any] = msgspec.to_builtins(summary)
    if version < (1, 48):
        body.pop("Descriptor", None)
    if version < (1, 51):
        body["Containers"] = -1
    if version < (1, 44):
        body["VirtualSize"] = summary.size
    if version < (1, 43):
        if not summary.repo_tags and not summary.repo_digests:
            body["RepoTags"], body["RepoDigests"] = ["<none>:<none>"], ["<none>@<none>"]
        body["RepoTags"] = body["RepoTags"] or None
        body["RepoDigests"] = body["RepoDigests"] or None
    return body


def inspect_at(inspect: ImageInspect, version: Version) -> dict[str, Any]:
    """An inspect answer as a client of `version` expects it."""
    body: dict[str, Any] = msgspec.to_builtins(inspect)
    if version < (1, 48):
        body.pop("Descriptor", None)
    if version < (1, 50):
        body["Config"] = dict(sorted({**_LEGACY_CONFIG, **inspect.config}.items()))
    if version < (1, 45):
        body["ContainerConfig"] = dict(_LEGACY_CONFIG)
    if version < (1, 44):
        body["VirtualSize"] = inspect.size
        body.setdefault("Created", "0001-01-01T00:00:00Z")
    return body
