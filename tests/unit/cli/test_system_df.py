"""`pier system df`: the texts are what Docker 28.5's own command made of the same answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.test_main import call
from tests.unit.client.fake_daemon import FakeDaemon

ID = {letter: f"sha256:{letter * 64}" for letter in "abd"}
USAGE: dict[str, Any] = {
    "LayersSize": 300_000_000,
    "Images": [
        {"Containers": 1, "Created": 1767323045, "Id": ID["a"], "RepoTags": ["app:1", "app:2"], "SharedSize": 100_000_000, "Size": 200_000_000},
        {"Containers": 0, "Created": 1767323045, "Id": ID["b"], "RepoTags": None, "SharedSize": 100_000_000, "Size": 150_000_000},
        {"Containers": 0, "Created": 1767323045, "Id": ID["d"], "RepoTags": [], "SharedSize": 0, "Size": 5},
    ],
    "Containers": [
        {"Id": "c" * 64, "Names": ["/web"], "Image": "app:1", "Command": "sleep 9", "Created": 1767323045, "SizeRw": 12345, "SizeRootFs": 9999999,
         "State": "running", "Status": "Up 5 minutes", "Mounts": [{"Type": "volume", "Name": "v", "Driver": "local"}]},
        {"Id": "e" * 64, "Names": ["/old"], "Image": "app:1", "Command": "x", "Created": 1767323045, "SizeRw": 655, "State": "exited",
         "Status": "Exited (0) 5 minutes ago"},
    ],
    "Volumes": [{"Name": "v", "Driver": "local", "UsageData": {"Size": 777_777, "RefCount": 1}},
                {"Name": "w" * 64, "Driver": "local", "UsageData": {"Size": 1000, "RefCount": 0}}],
    "BuildCache": [{"ID": "h" * 25, "Type": "regular", "InUse": False, "Shared": True, "Size": 700_000, "CreatedAt": "2021-06-28T13:31:01.4Z",
                    "LastUsedAt": "2021-07-07T22:02:32.7Z", "UsageCount": 26},
                   {"ID": "n" * 25, "Type": "source.local", "InUse": True, "Shared": False, "Size": 51000, "CreatedAt": "2021-06-28T13:31:03Z",
                    "LastUsedAt": None, "UsageCount": 1}],
}  # fmt: skip
TABLE = """\
TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE
Images          3         1         300MB     200MB (66%)
Containers      2         1         13kB      655B (5%)
Local Volumes   2         1         778.8kB   1kB (0%)
Build Cache     2         1         51kB      0B
"""
NOTHING = """\
TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE
Images          0         0         0B        0B
Containers      0         0         0B        0B
Local Volumes   0         0         0B        0B
Build Cache     0         0         0B        0B
"""
DETAILS = """\
Images space usage:

REPOSITORY   TAG       IMAGE ID       SIZE      SHARED SIZE   UNIQUE SIZE   CONTAINERS
app          1         aaaaaaaaaaaa   200MB     100MB         100MB         1
<none>       <none>    bbbbbbbbbbbb   150MB     100MB         50MB          0
<none>       <none>    dddddddddddd   5B        0B            5B            0

Containers space usage:

CONTAINER ID   IMAGE     COMMAND     LOCAL VOLUMES   SIZE      STATUS                     NAMES
cccccccccccc   app:1     "sleep 9"   1               12.3kB    Up 5 minutes               web
eeeeeeeeeeee   app:1     "x"         0               655B      Exited (0) 5 minutes ago   old

Local Volumes space usage:

VOLUME NAME                                                        LINKS     SIZE
v                                                                  1         777.8kB
wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww   0         1kB

Build cache usage: 51kB

CACHE ID        CACHE TYPE     SIZE      USAGE     SHARED
nnnnnnnnnnnn*   source.local   51kB      1         false
hhhhhhhhhhhh    regular        700kB     26        true
"""


def df(folder: Path, *args: str, usage: dict[str, Any] = USAGE) -> tuple[int, str, str]:
    daemon = FakeDaemon(folder, {"GET /system/df": usage})
    try:
        return call(daemon, "system", "df", *args)
    finally:
        daemon.close()


def without_ages(text: str) -> str:
    """The tables without the columns that say how long ago something was."""
    lines = []
    cuts: list[tuple[int, int]] = []
    for line in text.splitlines(keepends=True):
        if " CREATED " in line:
            cuts = []
            for title in ("CREATED ", "LAST USED "):
                start = line.find(title)
                if start >= 0:
                    end = start + len(title)
                    while line[end] == " ":
                        end += 1
                    cuts.append((start, end))
        elif not line.strip():
            cuts = cuts if lines and not lines[-1].strip() else []
        for start, end in reversed(cuts):
            line = line[:start] + line[end:]
        lines.append(line)
    return "".join(lines)


def test_the_sum(tmp_path: Path) -> None:
    assert df(tmp_path) == (0, TABLE, "")


def test_the_sum_of_nothing(tmp_path: Path) -> None:
    nothing = {"LayersSize": 0, "Images": None, "Containers": [], "Volumes": None, "BuildCache": None}
    assert df(tmp_path, usage=nothing) == (0, NOTHING, "")


def test_every_thing(tmp_path: Path) -> None:
    status, out, err = df(tmp_path, "-v")
    assert (status, without_ages(out), err) == (0, DETAILS, "")


@pytest.mark.parametrize(
    ("args", "out"),
    [
        (["--format", "{{.TotalCount}} {{.Active}} {{.Size}}"], "3 1 300MB\n2 1 13kB\n2 1 778.8kB\n2 1 51kB\n"),
        (["-v", "--format", "{{range .Images}}{{.Repository}}:{{.Tag}} {{.UniqueSize}} {{end}}"], "app:1 100MB <none>:<none> 50MB <none>:<none> 5B "),
        (["-v", "--format", "{{range .Volumes}}{{.Name}} {{end}}{{len .BuildCache}}"], f"v {'w' * 64} 2"),
    ],
)
def test_formats(tmp_path: Path, args: list[str], out: str) -> None:
    assert df(tmp_path, *args) == (0, out, "")


def test_json(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in df(tmp_path, "--format", "json")[1].splitlines()]
    assert lines[0] == {"Active": "1", "Reclaimable": "200MB (66%)", "Size": "300MB", "TotalCount": "3", "Type": "Images"} and len(lines) == 4


def test_json_of_every_thing(tmp_path: Path) -> None:
    whole = json.loads(df(tmp_path, "-v", "--format", "json")[1])
    assert list(whole) == ["Images", "Containers", "Volumes", "BuildCache"] and whole["Images"][0]["Digest"] == ""
    assert whole["Containers"][0]["Size"] == "12.3kB" and whole["BuildCache"][0]["CreatedAt"] == "2021-06-28 13:31:03 +0000 UTC"


def test_raw(tmp_path: Path) -> None:
    out = df(tmp_path, "--format", "raw")[1]
    assert out.startswith("type: Images\ntotal: 3\nactive: 1\nsize: 300MB\nreclaimable: 200MB (66%)\n\ntype: Containers\n")


def test_raw_of_every_thing(tmp_path: Path) -> None:
    out = df(tmp_path, "-v", "--format", "raw")[1]
    assert out.startswith("type: Image\nrepository: app\ntag: 1\ndigest: \nimage_id: sha256:aaaa")
    assert "\nlabels:\nports:\nsize: 12.3kB\n\ntype: Container\n" in out
    assert f"type: Volume\nname: {'w' * 64}\ndriver: local\n\ntype: Build Cache\n" in out


@pytest.mark.parametrize(
    ("args", "err"),
    [
        (["--format", "{{.Nope}}"], "can't evaluate field Nope in type *formatter.diskUsageImagesContext"),
        (["-v", "--format", "{{.Nope}}"], "template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type *formatter.diskUsageContext"),
        (["--format", "{{"], "template parsing error: template: :1: unclosed action"),
    ],
)
def test_wrong_templates(tmp_path: Path, args: list[str], err: str) -> None:
    status, out, text = df(tmp_path, *args)
    assert (status, out) == (1, "") and err in text
