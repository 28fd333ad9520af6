"""Images beyond Docker's: squash and diff through the command line and the API, on both kinds of layers."""

import json
from collections.abc import Iterator

import pytest

from tests.harness.commands import Done
from tests.harness.engine import Engine

SCRIPT = "echo hi > /new; rm /etc/group; chmod 600 /etc/passwd; rm -r /home; mkdir -p /opt/deep; head -c 100000 /dev/urandom > /opt/deep/data"


@pytest.fixture(scope="module", params=["erofs", "unpacked"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with Engine(env={} if request.param == "erofs" else {"PIER_FEATURES": "-erofs"}) as engine:
        if dict(engine.api.get("/info")["DriverStatus"])["Layers"].partition(":")[0] != request.param:
            pytest.skip("no layers from EROFS on this machine")
        engine.load_busybox()
        engine.pier("run", "--name", "made", "busybox", "sh", "-c", SCRIPT).ok()
        engine.pier("commit", "-c", 'CMD ["sh", "-c", "cat /new"]', "-c", "ENV A=1", "-c", "LABEL x=y", "made", "two").ok()
        engine.pier("run", "--name", "more", "two", "sh", "-c", "rm -r /opt; echo 3 > /third").ok()
        engine.pier("commit", "more", "three").ok()
        yield engine


def layers(engine: Engine, name: str) -> list[str]:
    return list(engine.api.get(f"/images/{name}/json")["RootFS"]["Layers"])


def test_a_squashed_image_shows_the_same(engine: Engine) -> None:
    made = engine.pier("image", "squash", "three", "one:squashed").ok().line
    assert engine.api.get("/images/one:squashed/json")["Id"] == made and len(layers(engine, "one:squashed")) == 1
    assert engine.pier("image", "diff", "three", "one:squashed").ok().out.splitlines()[1:] == []
    look = ("sh", "-c", "cat /new /third; ls -d /opt /home /etc/group; stat -c %a /etc/passwd")
    assert engine.pier("run", "--rm", "one:squashed", *look).out == engine.pier("run", "--rm", "three", *look).out == "hi\n3\n600\n"
    assert engine.api.get("/images/one:squashed/json")["Size"] < engine.api.get("/images/three/json")["Size"]
    steps = engine.pier("history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Size}}", "one:squashed").ok().out.splitlines()
    assert len(steps) == 4 and steps[0].startswith("pier image squash|") and steps[-1] == "ADD layer 0 in /|0B"
    assert engine.pier("image", "squash", "three").ok().line == made


def test_a_part_of_the_layers(engine: Engine) -> None:
    third = engine.api.get("/images/three/json")["RootFS"]["Layers"]
    by_number = engine.pier("image", "squash", "--from", "2", "three", "part:x").ok().line
    assert layers(engine, "part:x")[:1] == third[:1] and len(layers(engine, "part:x")) == 2
    assert engine.pier("image", "squash", "--from", third[1][7:20], "three").ok().line == by_number
    assert len(engine.pier("image", "diff", "three", "part:x").ok().out.splitlines()) == 1


def test_the_source_may_go(engine: Engine) -> None:
    engine.pier("tag", "two", "source:x").ok()
    engine.pier("image", "squash", "source:x", "result:x").ok()
    engine.pier("rmi", "source:x").ok()
    assert engine.pier("run", "--rm", "result:x").ok().out == "hi\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["squash", "nope"], "No such image: nope:latest"),
        (["squash", "busybox", "x"], "the layers from 1 to 1 are one already: there is nothing to squash"),
        (["squash", "--from", "3", "three"], "the layers from 3 to 3 are one already"),
        (["squash", "--from", "4", "three"], "has no layer '4': it has the layers 1 (the lowest) to 3"),
        (["squash", "--from", "0", "three"], "has no layer '0'"),
        (["squash", "--from", "-1", "three"], "has no layer '-1'"),
        (["squash", "three", "UPPER"], "repository name (library/UPPER) must be lowercase"),
        (["squash", "three", "x@sha256:" + "0" * 64], "refusing to create a tag with a digest reference"),
        (["squash"], "requires at least 1 and at most 2 arguments"),
        (["diff", "three", "nope"], "No such image: nope:latest"),
        (["diff", "three"], "requires 2 arguments"),
    ],
)
def test_wrong_requests(engine: Engine, words: list[str], says: str) -> None:
    before = engine.api.get("/images/json", all=True)
    done: Done = engine.pier("image", *words)
    assert done.code == 1 and says in done.err
    assert engine.api.get("/images/json", all=True) == before


def test_diff(engine: Engine) -> None:
    found = engine.api.get("/pier/images/diff", **{"from": "busybox", "to": "two"})
    assert [found["From"], found["To"]] == [engine.api.get(f"/images/{name}/json")["Id"] for name in ("busybox", "two")]
    files = {item["Path"]: (item["Kind"], item["From"], item["To"]) for item in found["Files"]}
    assert files["/new"] == (1, None, 3) and files["/opt/deep/data"] == (1, None, 100_000)
    assert files["/etc/passwd"][0] == 0 and files["/etc/group"][0] == 2
    assert set(files) == {"/new", "/etc/group", "/etc/passwd", "/home", "/home/alice", "/opt", "/opt/deep", "/opt/deep/data"}
    assert found["Counts"] == {"Changed": 1, "Added": 4, "Removed": 3}
    config = {item["Name"]: (item["From"], item["To"]) for item in found["Config"]}
    assert config.pop("DockerVersion")[0] is None
    assert config == {"Cmd": (["sh"], ["sh", "-c", "cat /new"]), "Env.A": (None, "1"), "Labels.x": (None, "y")}
    engine.api("GET", "/pier/images/diff", to="two").refused(400, "two images are needed")


def test_diff_on_the_command_line(engine: Engine) -> None:
    lines = engine.pier("image", "diff", "busybox", "two").ok().out.splitlines()
    words = [line.split() for line in lines]
    assert words[0] == ["KIND", "FROM", "TO", "NAME", "WHAT"] and ["A", "-", "100kB", "/opt/deep/data"] in words
    assert ["C", "142B", "142B", "/etc/passwd", "mode"] in words and ["A", "-", "1", "Env.A", "configuration"] in words
    told = engine.pier("image", "diff", "--format", "{{.Kind}} {{.Name}}", "two", "busybox").ok().out.splitlines()
    assert {"D /new", "A /etc/group", "C Cmd"} <= set(told)
    rows = [json.loads(line) for line in engine.pier("image", "diff", "--format", "json", "busybox", "two").ok().out.splitlines()]
    assert {"Kind": "A", "Name": "/new", "From": "-", "To": "3B", "What": ""} in rows


def test_events(engine: Engine) -> None:
    begun = engine.api.get("/info")["SystemTime"]
    made = engine.pier("image", "squash", "--from", "2", "three", "events:x").ok().line
    until = engine.api.get("/info")["SystemTime"]
    told = engine.pier("events", "--since", begun, "--until", until, "--format", "{{.Type}} {{.Action}} {{.Actor.ID}}").ok().out.splitlines()
    assert told == [f"image create {made}", f"image tag {made}"]
