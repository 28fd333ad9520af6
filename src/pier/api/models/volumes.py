"""The wire types of volumes: GET /volumes, /volumes/{name}, POST /volumes/create, /volumes/prune."""

from msgspec import UNSET, UnsetType, field

from pier.api.models.base import Model


class UsageData(Model):
    """What a volume takes (bytes, -1: not known) and how many containers have it; in GET /system/df only."""

    ref_count: int = -1
    size: int = -1


class Volume(Model):
    """A volume."""

    created_at: str = ""
    driver: str = "local"
    labels: dict[str, str] | None = None
    mountpoint: str = ""
    name: str = ""
    options: dict[str, str] | None = None
    scope: str = "local"
    status: dict[str, object] | UnsetType = UNSET
    usage_data: UsageData | UnsetType = UNSET


class VolumeSize(Model):
    """GET /pier/volumes/{name}/size: bytes on the disk, of the files and the snapshots; -1: a plugin keeps it. limit: of the files, 0: none."""

    name: str = ""
    size: int = -1
    limit: int = 0


class VolumeSnapshot(Model):
    """GET /pier/volumes/{name}/snapshots."""

    name: str = ""
    created_at: str = ""


class VolumeRemoved(Model):
    """GET /pier/volumes/trash: a volume that stays for a while; size in bytes."""

    name: str = ""
    removed_at: str = ""
    size: int = 0
    labels: dict[str, str] | None = None


class VolumeList(Model):
    """GET /volumes."""

    volumes: list[Volume] = field(default_factory=list)
    warnings: list[str] | None = None


class VolumeCreate(Model):
    """POST /volumes/create."""

    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    cluster_volume_spec: dict[str, object] | None = None


class VolumesPruned(Model):
    """POST /volumes/prune; bytes."""

    volumes_deleted: list[str] = field(default_factory=list)
    space_reclaimed: int = 0
