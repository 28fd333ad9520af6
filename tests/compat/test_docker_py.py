"""docker-py 7: the same engine through the Python SDK that most tools are written with."""

import threading
import time
from typing import Any

import pytest

from tests.harness import images
from tests.harness.commands import eventually

from .conftest import Target

docker_py = pytest.importorskip("docker")



@pytest.fixture
def labels(docker: Target) -> dict[str, str]:
    return {"pier.test": docker.token}


def test_ping_version_info(client: Any) -> None:
    assert client.ping() is True
    assert client.version()["ApiVersion"] == "1.51"
    assert client.info()["OSType"] == "linux"


def test_run_and_its_output(client: Any, image: str) -> None:
    assert client.containers.run(image, ["echo", "hello"], remove=True) == b"hello\n"
    output = client.containers.run(image, "sh -c 'echo err >&2; echo out'", remove=True, stderr=True)
    assert output in (b"err\nout\n", b"out\nerr\n")


def test_a_failed_command_raises_with_its_code(client: Any, image: str, labels: dict[str, str]) -> None:
    with pytest.raises(docker_py.errors.ContainerError) as raised:
        client.containers.run(image, "sh -c 'echo no >&2; exit 3'", labels=labels)
    assert raised.value.exit_status == 3 and raised.value.stderr == b"no\n"


def test_errors_have_their_classes(client: Any, image: str) -> None:
    with pytest.raises(docker_py.errors.NotFound):
        client.containers.get("pt-nothing")
    with pytest.raises(docker_py.errors.ImageNotFound):
        client.images.get("pier-test/nothing")
    with pytest.raises(docker_py.errors.APIError) as raised:
        client.containers.run(image, "nope", remove=True)
    assert raised.value.status_code in (400, 404) and "executable file not found" in raised.value.explanation


def test_the_whole_life(client: Any, image: str, labels: dict[str, str]) -> None:
    container = client.containers.create(image, ["sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"], labels=labels, environment={"A": "1"},
                                         mem_limit="64m", nano_cpus=500_000_000, cap_drop=["ALL"], read_only=True, tmpfs={"/scratch": "size=1m"},
                                         ulimits=[docker_py.types.Ulimit(name="nofile", soft=100, hard=200)], init=True, working_dir="/scratch",
                                         restart_policy={"Name": "on-failure", "MaximumRetryCount": 2}, hostname="py", stop_signal="TERM")  # fmt: skip
    assert container.status == "created"
    container.start()
    container.reload()
    assert container.status == "running" and container.attrs["HostConfig"]["Memory"] == 64 << 20
    assert container in client.containers.list(filters={"label": f"pier.test={labels['pier.test']}"})
    assert container.top()["Titles"][0] == "UID"
    code, output = container.exec_run(["sh", "-c", "hostname; pwd; ulimit -n; echo $A; touch x && touch /x"], demux=True)
    assert code == 1 and output[0] == b"py\n/scratch\n100\n1\n" and b"Read-only" in output[1]
    container.rename("pt-py-" + labels["pier.test"][:8])
    container.restart(timeout=1)
    eventually(lambda: container.logs().count(b"ready") == 2, says="the program waits for its signal again")
    container.stop(timeout=5)
    container.reload()
    assert container.status == "exited" and container.attrs["State"]["ExitCode"] == 0
    container.remove()
    with pytest.raises(docker_py.errors.NotFound):
        container.reload()


def test_kill_and_wait(client: Any, image: str, labels: dict[str, str]) -> None:
    container = client.containers.run(image, ["sleep", "60"], detach=True, labels=labels)
    container.kill()
    assert container.wait(timeout=20)["StatusCode"] == 137


def test_wait_conditions(client: Any, image: str, labels: dict[str, str]) -> None:
    container = client.containers.create(image, ["sh", "-c", "exit 5"], labels=labels)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(container.wait(condition="next-exit", timeout=20)))
    thread.start()
    time.sleep(0.3)  # nothing tells when the wait is registered
    container.start()
    thread.join(20)
    assert answers and answers[0]["StatusCode"] == 5
    assert container.wait(condition="not-running", timeout=20)["StatusCode"] == 5


def test_logs_stream(client: Any, image: str, labels: dict[str, str]) -> None:
    container = client.containers.run(image, ["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.05; done"], detach=True, labels=labels)
    assert b"".join(container.logs(stream=True, follow=True)) == b"1\n2\n3\n"
    assert container.logs(tail=1) == b"3\n"
    assert container.logs(timestamps=True).split()[1] == b"1"


def test_attach_socket(client: Any, image: str, labels: dict[str, str]) -> None:
    container = client.containers.create(image, ["cat"], stdin_open=True, labels=labels, tty=True)
    socket = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    socket._sock.sendall(b"echoed\n")
    seen = b""
    while seen.count(b"echoed") < 2:
        seen += socket._sock.recv(4096)
    socket.close()
    container.kill()


def test_exec_socket_and_resize(client: Any, image: str, labels: dict[str, str]) -> None:
    container = client.containers.run(image, ["sleep", "60"], detach=True, labels=labels)
    api = client.api
    execution = api.exec_create(container.id, ["sh", "-c", "read x; stty size; exit 4"], stdin=True, tty=True)["Id"]
    socket = api.exec_start(execution, socket=True, tty=True)
    assert api.exec_inspect(execution)["Running"] is True
    api.exec_resize(execution, height=31, width=99)
    socket._sock.sendall(b"\n")
    seen = b""
    while data := socket._sock.recv(4096):
        seen += data
    socket.close()
    assert b"31 99" in seen
    assert api.exec_inspect(execution)["ExitCode"] == 4


def test_an_exec_that_cannot_start_is_told_to_start_and_never_to_end(client: Any, image: str, labels: dict[str, str]) -> None:
    container = client.containers.run(image, ["sleep", "60"], detach=True, labels=labels)
    since = int(time.time())
    assert container.exec_run(["/nope"]).exit_code == 127
    assert container.exec_run(["true"]).exit_code == 0
    told = client.events(decode=True, since=since, until=int(time.time()) + 1, filters={"container": container.id})
    seen = [event["Action"] for event in told if event["Action"].startswith("exec_")]
    assert seen == ["exec_create: /nope ", "exec_start: /nope ", "exec_create: true ", "exec_start: true ", "exec_die"]


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/volumes/create", 201, '"Driver":"local"'),
        ("/networks/create", 400, "invalid name: name is empty"),
        ("/networks/bridge/connect", 400, 'invalid name or ID supplied: \\"\\"'),
        ("/networks/bridge/disconnect", 400, 'invalid name or ID supplied: \\"\\"'),
        ("/containers/NAME/exec", 400, "No exec command specified"),
        ("/containers/NAME/update", 200, '"Warnings":null'),
        ("/containers/create", 400, "invalid JSON"),
    ],
)
def test_a_request_without_a_body_is_one_without_wishes(client: Any, image: str, labels: dict[str, str], path: str, status: int, text: str) -> None:
    container = client.containers.run(image, ["sleep", "60"], detach=True, labels=labels)
    answer = client.api.post(client.api.base_url + "/v1.51" + path.replace("NAME", container.name))
    assert (answer.status_code, text in answer.text) == (status, True), answer.text
    if status == 201:
        client.volumes.get(answer.json()["Name"]).remove()


def test_events(client: Any, image: str, labels: dict[str, str]) -> None:
    since = int(time.time())
    container = client.containers.run(image, ["true"], detach=True, labels=labels)
    container.wait(timeout=20)
    seen = [e["Action"] for e in client.events(decode=True, since=since, until=int(time.time()) + 1, filters={"container": container.id})]
    assert seen == ["create", "start", "die"]


def test_images(client: Any, docker: Target, tmp_path: Any) -> None:
    tag = f"pier-test/{docker.name()}"
    archive = tmp_path / "i.tar"
    image_id = images.docker_archive(archive, f"{tag}:1", [images.busybox_layer(), images.layer({"x": tag.encode()})])
    (loaded,) = client.images.load(archive.read_bytes())
    assert loaded.id == image_id and loaded.tags == [f"{tag}:1"]
    assert loaded.tag(tag, "2") is True
    loaded.reload()
    assert sorted(loaded.tags) == [f"{tag}:1", f"{tag}:2"]
    assert loaded.history()[0]["Id"] == image_id
    assert image_id in [i.id for i in client.images.list()] and [i.id for i in client.images.list(name=f"{tag}:1")] == [image_id]
    client.images.remove(f"{tag}:2")
    client.images.remove(f"{tag}:1")
    with pytest.raises(docker_py.errors.ImageNotFound):
        client.images.get(f"{tag}:1")


def test_import(client: Any, docker: Target) -> None:
    tag = f"pier-test/{docker.name()}"
    client.api.import_image_from_data(images.busybox_layer(), repository=tag, tag="1")
    assert client.containers.run(f"{tag}:1", ["echo", "imported"], remove=True) == b"imported\n"
    client.images.remove(f"{tag}:1")


def test_prune(client: Any, image: str, docker: Target, labels: dict[str, str]) -> None:
    container = client.containers.run(image, ["true"], detach=True, labels=labels)
    container.wait(timeout=20)
    pruned = client.containers.prune(filters={"label": f"pier.test={docker.token}"})
    assert pruned["ContainersDeleted"] == [container.id] and pruned["SpaceReclaimed"] >= 0
