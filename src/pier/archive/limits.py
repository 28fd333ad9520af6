"""What an archive may ask for at most; the defaults are far above real images and far below what hurts a host."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds while reading one archive. Bytes are expanded bytes; a caller tightens them with `dataclasses.replace`."""

    total_bytes: int = 1 << 40  # of all that is written while one archive is read; also what 512-byte blocks of an index can address
    reserve_bytes: int = 64 << 20  # free space that reading leaves on the disk
    entries: int = 2_000_000  # in one layer
    outer_entries: int = 200_000  # in the archive around the layers
    depth: int = 512  # folders in one name
    name_bytes: int = 4095  # PATH_MAX less its NUL
    special_bytes: int = 1 << 20  # pax headers, GNU long names, sparse maps: what Go's archive/tar allows
    sparse_bytes: int = 1 << 39  # apparent size of all sparse files of a layer
    document_bytes: int = 8 << 20  # a manifest, index or configuration
    layers: int = 500  # overlayfs takes 500 lower folders since 6.x, 501 is EINVAL
    images: int = 1000
    index_depth: int = 4  # indexes within indexes


DEFAULT = Limits()
