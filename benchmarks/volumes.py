"""The measure of volumes: a container with a new volume that gets 10,000 files of its image."""

import os
from collections.abc import Callable
from pathlib import Path

from benchmarks import fixtures
from benchmarks.contenders import Contenders, timed
from benchmarks.measures import Command
from benchmarks.table import Row, judged, median_ms
from tests.harness import images

FILES = int(os.environ.get("BENCH_VOLUME_FILES", "10000"))
_IMAGE = "bench/filled:latest"
_ROUNDS = 5


def volumes(c: Contenders, rounds: int) -> list[Row]:
    """`run --rm -v NEW:/data IMAGE true`, where /data of the image has 10,000 files of 1 KiB in 100 folders.

    The volumes stay to the end: an ext4 without a journal searches long for an inode while thousands were freed in the last seconds
    (recently_deleted() in its ialloc.c), which tells nothing about engines.
    """
    archive = c.engine.roots / "filled.tar"
    fixtures.write_image(archive, _IMAGE, [images.busybox_layer(), _layer()])
    commands: list[tuple[Callable[..., Command], list[float]]] = [(c.pier, []), (c.docker, []), (c.podman, [])]
    for command, _ in commands:
        load = command("load", "-q", "-i", str(archive))
        if load is not None:
            timed(*load)
    Path(archive).unlink()
    for turn in range(min(rounds, _ROUNDS) + 1):
        for command, took in commands:
            run = command("run", "--rm", "-v", f"bench{turn}:/data", _IMAGE, "true")
            if run is None:
                continue
            seconds = timed(*run)
            if turn:
                took.append(seconds)
    for command, _ in commands:
        gone = command("volume", "rm", *(f"bench{turn}" for turn in range(min(rounds, _ROUNDS) + 1)))
        if gone is not None:
            timed(*gone)
    pier, docker, podman = (median_ms(took) if took else None for _, took in commands)
    assert pier is not None
    return [judged(Row(f"run with a new volume, {FILES:,} files copied", pier, docker, podman and podman - c.entry_cost() * 1000), least_ratio=3)]


def _layer() -> bytes:
    folders: dict[str, bytes | str | int | tuple[bytes, int]] = {"data": 0o755}
    folders |= {f"data/{number:02}": 0o755 for number in range(100)}
    return images.layer({**folders, **{f"data/{number % 100:02}/{number:05}": b"%08d" % number * 128 for number in range(FILES)}})


VOLUMES = {"volumes": volumes}
