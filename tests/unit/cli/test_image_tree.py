"""The tree of images: the layout is what Docker 28.5's own command drew of the same answers."""

import re
from typing import Any

import pytest

from pier.cli.image_tree import Group, draw

LONG = "a-very-long.registry.example.org:5000/some/deep/path/of/a/repository/name:with-a-long-tag"
EMPTY_PIPE = """\
WARNING: This is an experimental feature. The output may change and shouldn't be depended on.
                                                              Info ->  U In Use \n
IMAGE   ID             DISK USAGE   CONTENT SIZE   EXTRA
"""
PIPE = """\
WARNING: This is an experimental feature. The output may change and shouldn't be depended on.
                                                              Info ->  U In Use \n
IMAGE                 ID             DISK USAGE   CONTENT SIZE   EXTRA
multi:latest
other:1               aaaaaaaaaaaa          4MB            3MB   U    \n\
├─ linux/amd64        bbbbbbbbbbbb          3MB            1MB   U    \n\
├─ linux/arm64        cccccccccccc           0B             0B        \n\
└─ linux/arm/v7       dddddddddddd          3MB            1MB        \n
<untagged>            333333333333          4MB             0B        \n
"""
NARROW = """\
WARNING: This is an experimental feature. The output may change and shouldn't be depended on.
                   i Info →   U  In Use \n
IMAGE          ID             DISK USAGE
a-very-long.registry.example.org:5000/s…
a:1            aaaaaaaaaaaa          4MB
├─ linux/am…   bbbbbbbbbbbb          3MB
├─ linux/ar…   cccccccccccc           0B
└─ linux/ar…   dddddddddddd          3MB

"""
NAMES_ONLY = """\
WARNING: This is an experimental feature. The output may change and shouldn't be depended on.
i Info →   U  In Use \n
IMAGE             \n\
a:1               \n\
└─ linux/amd64    \n
"""


def manifest(platform: str, digit: str, *, available: bool = True, used: bool = False, kind: str = "image") -> dict[str, Any]:
    system, architecture, *variant = platform.split("/")
    size = {"Content": 1_000_000, "Total": 3_000_000} if available else {"Content": 0, "Total": 0}
    fields = {"os": system, "architecture": architecture, **({"variant": variant[0]} if variant else {})}
    data = {"Platform": fields, "Containers": ["c"] if used else []}
    return {"ID": "sha256:" + digit * 64, "Available": available, "Size": size, "Kind": kind, "ImageData": data if kind == "image" else None}


VARIANTS = [manifest("linux/amd64", "b", used=True), manifest("linux/arm64", "c", available=False), manifest("linux/arm/v7", "d"),
            manifest("unknown/unknown", "e", kind="attestation")]  # fmt: skip


def image(names: list[str], manifests: list[dict[str, Any]], digit: str = "a") -> dict[str, Any]:
    return {"Id": "sha256:" + digit * 64, "RepoTags": names, "Manifests": manifests, "Size": 4_000_000, "Containers": 0, "Created": 1}


@pytest.mark.parametrize(
    ("images", "width", "expected"),
    [
        ([], 80, EMPTY_PIPE),
        ([image(["multi:latest", "other:1"], VARIANTS), image([], [], "3")], 80, PIPE),
        ([image(["a:1", LONG], VARIANTS)], -40, NARROW),
        ([image(["a:1"], [*VARIANTS[3:], manifest("linux/amd64", "b")])], -20, NAMES_ONLY),
    ],
)
def test_the_layout(images: list[dict[str, Any]], width: int, expected: str) -> None:
    drawn = draw([Group(one) for one in images], abs(width), coloured=width < 0)
    assert ("\x1b" in drawn) == (width < 0), "escape sequences are for terminals"
    assert re.sub(r"\x1b\[[0-9;]*m", "", drawn) == expected


def test_names_are_whole_in_a_pipe_and_the_last_is_the_shortest() -> None:
    drawn = draw([Group(image(["b:1", "a:22", LONG, "a:1"], []))], 80, coloured=False).splitlines()
    assert drawn[4:7] == [LONG, "a:22", "b:1"] and drawn[7].startswith("a:1  ")


def test_colours_of_a_terminal() -> None:
    drawn = draw([Group(image(["a:1"], VARIANTS))], 100, coloured=True)
    assert "\x1b[34;1ma:1\x1b[0m" in drawn and "\x1b[39;2mcccccccccccc\x1b[0m" in drawn and drawn.count("\x1b[38;5;0;48;5;14m U \x1b[0m") == 3
