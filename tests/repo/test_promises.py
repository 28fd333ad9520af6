"""Promises of the repository itself: locks with hashes, an .ci/run that only says `make test`, documents that name what is."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", text, re.M))


@pytest.mark.parametrize("name", ["run.txt", "dev.txt"])
def test_every_locked_version_has_a_hash(name: str) -> None:
    entries = re.split(r"^(?=[a-z0-9-]+==)", (ROOT / "requirements" / name).read_text(), flags=re.M)[1:]
    assert entries and all("--hash=sha256:" in e for e in entries)


def test_the_locks_agree() -> None:
    run, dev = locked("run.txt"), locked("dev.txt")
    assert {name: dev.get(name) for name in run} == run


def test_what_the_project_depends_on_is_locked_and_explained() -> None:
    names = [re.split(r"[><=;\[ ]", d)[0].replace(".", "-") for d in PROJECT["project"]["dependencies"]]
    assert set(names) <= set(locked("run.txt"))
    explained = (ROOT / "docs/dependencies.md").read_text().replace(".", "-")
    assert [n for n in names if f"**{n}**" not in explained] == []


def test_ci_runs_make_test() -> None:
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert lines[-1] == "exec make test </dev/null" and "set -e" in lines


def test_no_private_path_in_the_repository() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    wrong = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and b"/" + b"work/" in path.read_bytes():
            wrong.append(name)
    assert wrong == []


def test_each_make_goal_in_the_readme_exists() -> None:
    goals = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"`make ([a-z-]+)`", "".join((ROOT / n).read_text() for n in ("README.md", "CONTRIBUTING.md"))))
    assert {"run", "test", "check", "bench", "stop"} <= named <= goals
