"""Images out of containers, through the docker command and the API: commit, and diff."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.api import Api
from tests.harness.commands import eventually

from .conftest import Target

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.fixture
def repository(docker: Target) -> Iterator[str]:
    """A repository nothing else uses; its images go after the test."""
    name = f"pier-test/{docker.name()}"
    yield name
    left = docker("images", "-q", "--no-trunc", name).ok().out.split()
    for image in dict.fromkeys(left):
        docker("rm", "-f", *docker("ps", "-aq", "--filter", f"ancestor={image}").out.split(), "none")
        docker("rmi", "-f", image)


@pytest.fixture
def api(docker: Target) -> Api:
    return Api(docker.env["DOCKER_HOST"].removeprefix("unix://"))


def config(docker: Target, image: str) -> dict[str, Any]:
    return dict(json.loads(docker.inspect(image, "{{json .Config}}")))


def test_what_a_container_wrote_is_in_the_image(docker: Target, repository: str) -> None:
    script = "mkdir -p /new/d && echo hi > /new/d/f && rm /etc/group && rm -r /home && mkdir /home && ln /etc/passwd /etc/p2 && chmod 4755 /etc/p2 && mkfifo /p"
    made = docker.background(docker.image, "sh", "-c", f"{script} && sleep 100")
    eventually(lambda: docker("exec", made, "test", "-p", "/p").code == 0, says="the script is through")
    image = docker("commit", made, f"{repository}:one").ok().line
    assert image.startswith("sha256:") and docker.inspect(f"{repository}:one", "{{.Id}}") == image
    look = "cat /new/d/f; ls /etc/group; ls -A /home; stat -c '%a %h %u' /etc/passwd /etc/p2; test -p /p && echo fifo"
    seen = docker("run", "--rm", f"{repository}:one", "sh", "-c", look)
    assert seen.out == "hi\n4755 2 0\n4755 2 0\nfifo\n" and "/etc/group: No such file" in seen.err
    assert docker.inspect(f"{repository}:one", "{{len .RootFS.Layers}} {{.Parent}}") == f"2 {docker.image_id}"
    docker("rm", "-f", made).ok()


def test_what_the_image_says_of_itself(docker: Target, repository: str) -> None:
    made = docker("create", "--entrypoint", "ep", "-e", "X=1", "-l", "k=v", "-u", "alice", "-w", "/tmp", "--expose", "80", docker.image, "a", "b c").ok().line
    docker("commit", "-a", "me <me@x>", "-m", "a message", "-c", "ENV Z=$X", "-c", "CMD run it", "-c", "LABEL more=yes", made, f"{repository}:t").ok()
    said = json.loads(docker("inspect", f"{repository}:t").ok().out)[0]
    assert (said["Author"], said["Comment"], said["Architecture"], said["Os"]) == ("me <me@x>", "a message", "amd64", "linux")
    assert "ContainerConfig" not in said and said["DockerVersion"] and said["RepoTags"] == [f"{repository}:t"]
    found = said["Config"]
    assert found["Cmd"] == ["/bin/sh", "-c", "run it"] and found["Entrypoint"] == ["ep"] and found["Env"] == ["X=1", PATH, "Z=1"]
    labels = {key: value for key, value in found["Labels"].items() if key != "pier.test"}
    assert labels == {"k": "v", "more": "yes"} and found["User"] == "alice" and found["ExposedPorts"] == {"80/tcp": {}} and found["WorkingDir"] == "/tmp"
    newest = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", f"{repository}:t").ok().out.splitlines()[0]
    assert newest == "a b c|a message"


@pytest.mark.parametrize("ran", [False, True])
def test_a_container_that_wrote_nothing_adds_no_layer(docker: Target, repository: str, ran: bool) -> None:
    made = docker("create", docker.image, "true").ok().line
    if ran:
        docker("start", "-a", made).ok()
    docker("commit", made, f"{repository}:same").ok()
    assert docker.inspect(f"{repository}:same", "{{len .RootFS.Layers}}") == "1"
    assert docker("history", "-H=false", "--format", "{{.Size}} {{.CreatedBy}}", f"{repository}:same").ok().out.splitlines()[0] == "0 true"


def test_names(docker: Target, repository: str) -> None:
    made = docker("create", docker.image, "true").ok().line
    first = docker("commit", made, repository).ok().line
    assert docker.inspect(f"{repository}:latest", "{{.Id}}") == first
    second = docker("commit", "-m", "other", made, repository).ok().line
    assert docker.inspect(repository, "{{.Id}}") == second and docker.inspect(first, "{{len .RepoTags}}") == "0"
    unnamed = docker("commit", made).ok().line
    assert docker.inspect(unnamed, "{{len .RepoTags}}") == "0"
    docker("rmi", "-f", unnamed, first).ok()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["commit", "nope", "x:y"], "Error response from daemon: No such container: nope"),
        (["commit", "MADE", "UPPER"], "invalid reference format: repository name (library/UPPER) must be lowercase"),
        (["commit", "MADE", "x@sha256:" + "0" * 64], "refusing to create a tag with a digest reference"),
        (["commit", "MADE", "x:y:z"], "invalid reference format"),
        (["commit", "-c", "NOPE x", "MADE"], "Error response from daemon: NOPE is not a valid change command"),
        (["commit", "-c", "FROM x", "MADE"], "Error response from daemon: FROM is not a valid change command"),
        (["commit", "-c", "EXPOSE x", "MADE"], "nvalid containerPort: x"),
        (["commit"], "requires at least 1 and at most 2 arguments"),
        (["commit", "a", "b", "c"], "requires at least 1 and at most 2 arguments"),
        (["diff", "nope"], "Error response from daemon: No such container: nope"),
        (["diff", ""], "invalid container name or ID: value is empty"),
        (["diff"], "requires 1 argument"),
    ],
)
def test_wrong_requests(docker: Target, words: list[str], says: str) -> None:
    made = docker("create", docker.image, "true").ok().line
    done = docker(*[made if word == "MADE" else word for word in words])
    assert done.code == 1 and says in done.err and done.out == ""


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ({}, 400, 'invalid name or ID supplied: ""'),
        ({"container": "nope", "repo": "UPPER"}, 400, "must be lowercase"),
        ({"container": "nope", "changes": "NOPE"}, 404, "No such container: nope"),
        ({"container": "MADE", "repo": "x@sha256:" + "0" * 64}, 400, "cannot import digest reference"),
        ({"container": "MADE", "repo": "x", "tag": "bad tag"}, 400, "invalid tag format"),
        ({"container": "MADE", "repo": "sha256:abc"}, 400, "refusing to create an ambiguous tag using digest algorithm as name"),
        ({"container": "MADE", "changes": "ENV"}, 400, "ENV requires at least one argument"),
    ],
)
def test_wrong_requests_of_the_api(docker: Target, api: Api, query: dict[str, str], status: int, says: str) -> None:
    made = docker("create", docker.image, "true").ok().line
    wanted = {key: made if value == "MADE" else value for key, value in query.items()}
    api("POST", "/commit", **wanted).refused(status, says)


BODIES = {
    "command": ({"Cmd": ["b"]}, {"Cmd": ["b"], "Entrypoint": ["ep"]}),
    "entrypoint": ({"Entrypoint": ["e2"]}, {"Cmd": None, "Entrypoint": ["e2"]}),
    "no entrypoint": ({"Entrypoint": []}, {"Cmd": ["a"], "Entrypoint": None}),
    "joined": (
        {"Env": ["B=3", "C=4"], "Labels": {"l": "2"}, "ExposedPorts": {"81/udp": {}}, "Volumes": {"/v": {}}, "StopSignal": "SIGINT"},
        {"Env": ["B=3", "C=4", "A=1", PATH], "ExposedPorts": {"80/tcp": {}, "81/udp": {}}, "Volumes": {"/v": {}}, "StopSignal": "SIGINT"},
    ),
    "scalars": ({"User": "u", "WorkingDir": "/x"}, {"User": "u", "WorkingDir": "/x", "Cmd": ["a"]}),
    "triggers are the body's": ({"OnBuild": ["y"], "Shell": ["s"], "HostConfig": {"Memory": 5}}, {"OnBuild": ["y"], "Shell": ["s"]}),
    "nothing of them": ({"Image": "zzz"}, {"OnBuild": None, "User": "alice"}),
}


@pytest.mark.parametrize("case", BODIES)
def test_the_body_is_a_configuration(docker: Target, api: Api, case: str) -> None:
    given, expected = BODIES[case]
    words = ["--entrypoint", "ep", "-e", "A=1", "-e", "B=2", "-l", "l=1", "--expose", "80", "-u", "alice", "-w", "/"]
    made = docker("create", *words, docker.image, "a").ok().line
    image = api("POST", "/commit", body=given, container=made).ok(201).json["Id"]
    found = config(docker, image)
    assert {key: found.get(key) for key in expected} == expected
    docker("rmi", image).ok()


def test_what_happens_is_told(docker: Target, api: Api, repository: str) -> None:
    made = docker.background(docker.image, "sleep", "100")
    begun = int(docker("run", "--rm", docker.image, "date", "+%s").ok().line)
    docker("commit", "-m", "words", made, f"{repository}:e").ok()
    image = docker.inspect(f"{repository}:e", "{{.Id}}")
    docker("commit", "--pause=false", made, f"{repository}:f").ok()
    until = int(docker("run", "--rm", docker.image, "date", "+%s").ok().line) + 1
    told = docker("events", "--since", str(begun), "--until", str(until), "--format", "{{json .}}", limit_s=20).ok().out.splitlines()
    events = [json.loads(line) for line in told]
    ours = [event for event in events if event["Actor"]["ID"] in (made, image)]
    assert [event["Action"] for event in ours if event["Actor"]["ID"] == image] == ["create", "tag"]
    actions = [event["Action"] for event in ours if event["Actor"]["ID"] == made]
    assert actions.count("commit") == 2 and actions.count("pause") == actions.count("unpause") == 1
    assert actions.index("pause") < actions.index("unpause") and actions.index("pause") < actions.index("commit")
    said = next(event for event in ours if event["Action"] == "commit")["Actor"]["Attributes"]
    assert (said["comment"], said["imageID"], said["imageRef"], said["image"]) == ("words", image, f"{repository}:e", docker.image)
    docker("rm", "-f", made).ok()


@pytest.mark.parametrize("pause", ["true", "false"])
def test_a_running_container_runs_on(docker: Target, repository: str, pause: str) -> None:
    made = docker.background(docker.image, "sh", "-c", "echo 1 > /count; while read n; do echo $n; done < /dev/zero")
    eventually(lambda: docker("exec", made, "cat", "/count").out == "1\n", says="its file is there")
    docker("commit", f"--pause={pause}", made, f"{repository}:running").ok()
    states = docker("exec", made, "sh", "-c", "ticks() { cut -d' ' -f14 /proc/1/stat; }; ticks; sleep 0.3; ticks").ok().out.split()
    assert int(states[0]) < int(states[1])
    assert docker("run", "--rm", f"{repository}:running", "cat", "/count").ok().line == "1"
    docker("rm", "-f", made).ok()


def test_diff(docker: Target) -> None:
    script = "mkdir /new && echo > /new/f && rm /etc/group && chmod 600 /etc/passwd && rm -r /home/alice && mkfifo /p && sleep 100"
    made = docker.background("-v", "/volume", docker.image, "sh", "-c", script)
    eventually(lambda: "A /p" in docker("diff", made).ok().out, says="the script is through")
    assert sorted(docker("container", "diff", made).ok().out.splitlines()) == sorted(
        ["A /new", "A /new/f", "A /p", "A /volume", "C /etc", "C /etc/passwd", "C /home", "D /etc/group", "D /home/alice"]
    )
    docker("rm", "-f", "-v", made).ok()
    fresh = docker("create", docker.image, "true").ok().line
    assert docker("diff", fresh).ok().out == ""


def test_commits_of_one_container_at_once(docker: Target, repository: str) -> None:
    made = docker.background(docker.image, "sh", "-c", "dd if=/dev/urandom of=/big bs=1M count=8 2>/dev/null; sleep 100")
    eventually(lambda: docker("exec", made, "stat", "-c", "%s", "/big").out.strip() == str(8 << 20), says="the file is there")
    done: list[int] = []
    threads = [threading.Thread(target=lambda n=n: done.append(docker("commit", made, f"{repository}:n{n}").code)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [0] * 4
    assert len({docker.inspect(f"{repository}:n{n}", "{{index .RootFS.Layers 1}}") for n in range(4)}) == 1
    assert docker("exec", made, "true").code == 0
    docker("rm", "-f", made).ok()
