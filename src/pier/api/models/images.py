"""Wire types of the image routes, as an engine answers them at API 1.51; `*_at` puts them into the words of an older version.

Sources: engine-api-v1.51.yaml (ImageSummary, ImageInspect, ImageHistoryResponseItem, ImageDeleteResponseItem) and answers of a 28.5 engine.
"""

from typing import Any

import msgspec

from pier.api.models.base import Model

Version = tuple[int, int]


class ImageSummary(Model, kw_only=True):
    """One line of GET /images/json. Sizes in bytes; -1 means not computed."""

    containers: int
    created: int  # s since the epoch
    id: str
    labels: dict[str, str] | None
    parent_id: str
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
    if version < (1, 50):
        body["Config"] = dict(sorted({**_LEGACY_CONFIG, **inspect.config}.items()))
    if version < (1, 45):
        body["ContainerConfig"] = dict(_LEGACY_CONFIG)
    if version < (1, 44):
        body["VirtualSize"] = inspect.size
        body.setdefault("Created", "0001-01-01T00:00:00Z")
    return body
