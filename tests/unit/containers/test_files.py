"""The files bound into a container's /etc, when its networks change while it runs: it may have written into them whatever it likes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pier.containers import files

PLACE: Any = SimpleNamespace(addresses=("10.0.0.2",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "resolv.conf").write_text("nameserver 10.0.0.1\n")
    return tmp_path


def lose(folder: Path) -> None:
    ctx: Any = SimpleNamespace(folder=lambda _: folder)
    files.lost(ctx, SimpleNamespace(id="x"), PLACE)  # type: ignore[arg-type]


def test_what_it_wrote_stays_and_the_address_goes(folder: Path) -> None:
    hosts = folder / "hosts"
    hosts.write_bytes(b"127.0.0.1\tlocalhost\n10.0.0.2\tme\n\xff\tmine\n10.0.0.22\tother\n")
    lose(folder)
    assert hosts.read_bytes() == b"127.0.0.1\tlocalhost\n\xff\tmine\n10.0.0.22\tother\n"


@pytest.mark.parametrize("name", ["hosts", "resolv.conf"])
def test_one_that_is_larger_than_memory_is_left_alone(folder: Path, name: str) -> None:
    (folder / "hosts").touch()
    with open(folder / name, "wb") as file:
        file.truncate(1 << 42)
    lose(folder)
    assert (folder / name).stat().st_size == 1 << 42
