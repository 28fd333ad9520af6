"""Where an exec goes when the container has made cgroups of its own: files of a v2 tree, laid out in a folder."""

import os
from pathlib import Path

import pytest

from pier.linux import cgroups
from pier.linux.cgroups import CgroupLayout, Hierarchy


def opened(layout: CgroupLayout, pid: int) -> str:
    _, fd = layout.open_joins("c1", pid)
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("subtree", "line", "below"),
    [
        ("", "0::/pier-x/c1/init", ""),  # it takes processes itself
        ("memory pids", "0::/pier-x/c1/init", "/init"),
        ("memory pids", "12:cpu:/elsewhere\n0::/pier-x/c1/a/b", "/a/b"),
        ("memory pids", "0::/pier-x/c1", ""),
        ("memory pids", "0::/system.slice", ""),  # moved out of its own, with the host's cgroups at hand: nobody follows it
        ("memory pids", "0::/pier-x/c12/init", ""),
        ("memory pids", "0::/pier-x/c1/../c12/init", ""),
    ],
)
def test_an_exec_goes_where_the_first_process_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subtree: str, line: str, below: str
) -> None:
    layout = CgroupLayout("v2", "pier-x", (Hierarchy("", str(tmp_path), ("memory", "pids"), True),))
    for folder in ("c1/init", "c1/a/b", "c12/init"):
        (tmp_path / "pier-x" / folder).mkdir(parents=True)
    for folder, _, _ in os.walk(tmp_path / "pier-x"):
        Path(folder, "cgroup.procs").touch()
        Path(folder, "cgroup.subtree_control").write_text("")
    (tmp_path / "pier-x/c1/cgroup.subtree_control").write_text(subtree + "\n")
    read = cgroups._read
    monkeypatch.setattr(cgroups, "_read", lambda path: line if path == "/proc/77/cgroup" else read(path))
    assert opened(layout, 77) == f"{tmp_path}/pier-x/c1{below}"
