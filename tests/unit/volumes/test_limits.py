"""The option `size` of a local volume."""

import pytest

from pier.errors import Invalid
from pier.volumes.options import filesystem, limit


@pytest.mark.parametrize(
    ("text", "size"),
    [("10M", 10 << 20), ("10m", 10 << 20), ("1.5g", 3 << 29), ("512", 512), ("4 KiB", 4096), ("2tb", 2 << 40), ("0", 0), ("7b", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert limit({"size": text}) == size and filesystem({"size": text}) is None


@pytest.mark.parametrize("text", ["", "x", "-1", "10 parsecs", "9" * 30, "1e3", "5x", "1.2.3m", " 5m", "5m\n"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(Invalid, match="invalid size: "):
        limit({"size": text})


def test_no_size_is_no_limit() -> None:
    assert limit(None) == limit({}) == limit({"type": "tmpfs", "device": "tmpfs"}) == 0


def test_a_file_system_of_its_own_takes_its_size_elsewhere() -> None:
    with pytest.raises(Invalid, match="size=5m limits a volume of plain files, this one is a file system of its own: give it its size in o="):
        filesystem({"size": "5m", "type": "tmpfs", "device": "tmpfs"})
