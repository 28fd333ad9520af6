"""A daemon behind ssh: the whole command line by it, and images pushed to it. ssh is a program in PATH that runs it here."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import images
from tests.harness.commands import Done, run
from tests.harness.engine import Engine, program

BIG = os.urandom(400_000)


@pytest.fixture
def far() -> Iterator[Engine]:
    with Engine() as far:
        yield far


class Ssh:
    """A client on one engine, to which ssh://far is the other."""

    def __init__(self, near: Engine, far: Engine, folder: Path) -> None:
        self.env = {**near.client_env, "PATH": f"{folder}:{os.environ['PATH']}", "FAR": far.host, "LOG": str(folder / "log")}
        self.log = folder / "log"
        pier = " ".join(program("pier", "pier.cli.main"))
        (folder / "pier").write_text(f'#!/bin/sh\nexec {pier} "$@"\n')
        script = f"""#!{sys.executable}
import os, sys
open(os.environ["LOG"], "a").write(" ".join(sys.argv[1:]) + "\\n")
if "down" in sys.argv:
    sys.exit("ssh: connect to host down port 22: No route to host")
os.environ["DOCKER_HOST"] = os.environ["FAR"]
os.execvp("sh", ["sh", "-c", sys.argv[-1]])
"""
        (folder / "ssh").write_text(script)
        for name in ("pier", "ssh"):
            (folder / name).chmod(0o755)

    def __call__(self, *words: str, stdin: bytes | None = None) -> Done:
        return run([*program("pier", "pier.cli.main"), *words], self.env, stdin, 60.0)


def test_only_what_is_missing_goes_to_a_daemon_behind_ssh(engine: Engine, far: Engine, tmp_path: Path) -> None:
    ssh = Ssh(engine, far, tmp_path)
    for tag, layers in (("app:1", [images.layer({"big": BIG})]), ("app:2", [images.layer({"big": BIG}), images.layer({"small": b"x"})])):
        images.docker_archive(tmp_path / "image.tar", tag, layers)
        engine.pier("load", "-q", "-i", str(tmp_path / "image.tar")).ok()
    try:
        first = ssh("image", "push", "ssh://me@far:2222/app:1").ok()
        assert first.out == "The push goes to the daemon at ssh://me@far:2222\n0 of 1 layers are there\nLoaded image: app:1\n"
        assert ssh.log.read_text().splitlines()[-1] == "-o ConnectTimeout=30 -T -l me -p 2222 -- far pier system dial-stdio"
        before = len(far.log_text())
        second = ssh("push", "ssh://far/app:2").ok()
        assert "1 of 2 layers are there\n" in second.out and "Loaded image: app:2\n" in second.out, far.log_text()[before:]
        assert ssh("push", "-q", "ssh://far/app:2").ok().out == "app:2\n"
        for tag in ("app:1", "app:2"):
            assert far.api.get(f"/images/{tag}/json")["Id"] == engine.api.get(f"/images/{tag}/json")["Id"]
        ssh("push", "ssh://far/nope").fails(1, "No such image: nope:latest")
        ssh("push", "ssh://far").fails(1, "ssh://far: no image is named: ssh://[USER@]HOST[:PORT]/NAME[:TAG]")
        ssh("push", "-a", "ssh://far/app").fails(1, "--all-tags goes to registries only")
        ssh("push", "ssh://down/app:1").fails(1, "No route to host")
    finally:
        for tag in ("app:1", "app:2"):
            engine.pier("rmi", tag)


def test_the_command_line_by_ssh(engine: Engine, far: Engine, tmp_path: Path) -> None:
    ssh = Ssh(engine, far, tmp_path)
    far.load_busybox()
    big = os.urandom(300_000)
    assert ssh("-H", "ssh://far", "images", "--format", "{{.Repository}}").ok().line == "busybox"
    echoed = run([*program("pier", "pier.cli.main"), "-H", "ssh://far", "run", "--rm", "-i", "busybox", "sh", "-c", "cat | wc -c; exit 3"],
                 ssh.env, big, 60.0)  # fmt: skip
    assert (echoed.code, echoed.out.strip()) == (3, "300000")
    context = {**ssh.env, "DOCKER_HOST": ""}
    run([*program("pier", "pier.cli.main"), "context", "create", "far", "--docker", "host=ssh://far"], context, None, 60.0).ok()
    assert run([*program("pier", "pier.cli.main"), "-c", "far", "ps", "-q"], context, None, 60.0).ok().out == ""
