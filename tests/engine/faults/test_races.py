"""Many clients at one container, and clients that leave at every point."""

import http.client
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.engine.faults import steps
from tests.harness.api import Answer
from tests.harness.commands import eventually
from tests.harness.engine import Engine

CLIENTS = 20


def together(*calls: Callable[[], Answer]) -> list[Answer]:
    """All calls at once."""
    gate = threading.Barrier(len(calls))

    def one(call: Callable[[], Answer]) -> Answer:
        gate.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def raw(engine: Engine, method: str, route: str, **query: object) -> socket.socket:
    """A request that was sent, and whose answer nobody has read."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(str(engine.socket))
    client.sendall(f"{method} {engine.api.url(route, dict(query))} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    return client


def test_one_name_for_twenty_clients(broken: Engine) -> None:
    body = {"Image": "busybox", "Cmd": ["true"]}
    answers = together(*[lambda: broken.api("POST", "/containers/create", body, name="wanted")] * CLIENTS)
    assert sorted(a.status for a in answers) == [201] + [409] * (CLIENTS - 1)
    assert all('The container name "/wanted" is already in use' in steps.error_of(a) for a in answers if a.status == 409)


def test_twenty_clients_start_one_container(broken: Engine) -> None:
    container = steps.create(broken, *steps.SLEEP)
    answers = together(*[lambda: broken.api("POST", f"/containers/{container}/start")] * CLIENTS)
    assert sorted(a.status for a in answers) == [204] + [304] * (CLIENTS - 1)
    assert steps.listed(broken, container) == "running"
    answers = together(*[lambda: broken.api("POST", f"/containers/{container}/stop", t=0)] * CLIENTS)
    assert {a.status for a in answers} <= {204, 304} and 204 in {a.status for a in answers}
    assert steps.listed(broken, container) == "exited"


@pytest.mark.parametrize("policy", ["no", "always"])
def test_start_stop_restart_and_remove_at_once(broken: Engine, policy: str) -> None:
    container = steps.create(broken, *steps.SLEEP, RestartPolicy={"Name": policy})
    start = [lambda: broken.api("POST", f"/containers/{container}/start")]
    stop = [lambda: broken.api("POST", f"/containers/{container}/stop", t=0)]
    again = [lambda: broken.api("POST", f"/containers/{container}/restart", t=0)]
    remove = [lambda: broken.api("DELETE", f"/containers/{container}", force=True)]
    answers = together(*start * 6, *stop * 4, *again * 4, *remove * 6)
    assert {a.status for a in answers} <= {204, 304, 404, 409}, [a for a in answers if a.status not in (204, 304, 404, 409)]
    assert [a.status for a in answers[-6:]].count(204) == 1
    assert not steps.listed(broken, container)


def test_a_removal_without_force_during_a_start_is_refused_or_comes_first(broken: Engine) -> None:
    for _ in range(5):
        container = steps.create(broken, *steps.SLEEP)
        answers = together(lambda: broken.api("POST", f"/containers/{container}/start"), lambda: broken.api("DELETE", f"/containers/{container}"))  # noqa: B023
        left = steps.listed(broken, container)
        assert ([a.status for a in answers], left) in (([204, 409], "running"), ([404, 204], ""), ([409, 204], "")), (answers, left)


def test_execs_while_the_container_ends(broken: Engine) -> None:
    container = steps.start(broken, *steps.SLEEP)

    def one() -> Answer:
        made = broken.api("POST", f"/containers/{container}/exec", {"Cmd": ["echo", "in time"], "AttachStdout": True})
        return broken.api("POST", f"/exec/{made.json['Id']}/start", {"Detach": False}) if made.status == 201 else made

    answers = together(*[one] * 10, lambda: broken.api("POST", f"/containers/{container}/kill"))
    assert all(a.status in (200, 204, 409) for a in answers), answers
    assert steps.exit_code(broken, container) == 137


def test_a_client_that_leaves_between_create_and_start_of_rm(broken: Engine) -> None:
    container = steps.create(broken, "true", AutoRemove=True)
    broken.restart()
    assert steps.listed(broken, container) == "created"
    broken.api("POST", f"/containers/{container}/start").ok(204)
    eventually(lambda: not steps.listed(broken, container), says="--rm")


@pytest.mark.parametrize("route", ["start", "stop", "wait", "logs", "attach", "events", "exec"])
def test_a_client_that_leaves_at_once_leaves_nothing(broken: Engine, route: str) -> None:
    container = steps.create(broken, "sh", "-c", "while :; do echo tick; sleep 0.02; done")
    if route != "start":
        broken.api("POST", f"/containers/{container}/start").ok(204)
    for _ in range(10):
        if route in ("start", "stop", "wait"):
            raw(broken, "POST", f"/containers/{container}/{route}", **({"t": 0} if route == "stop" else {})).close()
        elif route == "logs":
            client = raw(broken, "GET", f"/containers/{container}/logs", stdout=True, follow=True)
            assert client.recv(20)
            client.close()
        elif route == "events":
            raw(broken, "GET", "/events").close()
        elif route == "attach":
            broken.api.hijack(f"/containers/{container}/attach", stream=True, stdout=True, stdin=True)[0].close()
        else:
            made = broken.api("POST", f"/containers/{container}/exec", {"Cmd": ["echo", "x"], "AttachStdout": True}).ok(201).json["Id"]
            broken.api.hijack(f"/exec/{made}/start", {"Detach": False})[0].close()
    wanted = "exited" if route == "stop" else "running"
    eventually(lambda: steps.listed(broken, container) == wanted, says=wanted)


def test_half_a_request_is_no_request(broken: Engine) -> None:
    before = broken.containers()
    text = b'POST /v1.51/containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n{"Image": "busybox"'
    for end in range(0, len(text), 7):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(broken.socket))
        client.sendall(text[:end])
        client.close()
    assert broken.containers() == before


def test_a_thousand_idle_clients_are_in_nobodys_way(broken: Engine) -> None:
    clients = []
    try:
        for _ in range(1000):
            clients.append(http.client.HTTPConnection("x"))
            clients[-1].sock = socket.socket(socket.AF_UNIX)
            clients[-1].sock.connect(str(broken.socket))
        assert steps.exit_code(broken, steps.start(broken, "true")) == 0
    finally:
        for each in clients:
            each.close()


def test_fifty_clients_of_one_container_all_see_everything(broken: Engine) -> None:
    container = steps.create(broken, "sh", "-c", "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done")
    socks = [broken.api.hijack(f"/containers/{container}/attach", stream=True, stdout=True)[0] for _ in range(50)]
    broken.api("POST", f"/containers/{container}/start").ok(204)

    def read(sock: socket.socket) -> int:
        count = 0
        while part := sock.recv(65536):
            count += part.count(b"line ")
        sock.close()
        return count

    with ThreadPoolExecutor(50) as pool:
        counts = list(pool.map(read, socks))
    assert min(counts) >= 1990, counts  # "line " itself may be cut by two reads


def test_a_client_that_does_not_read_holds_up_nobody_else(broken: Engine) -> None:
    flood = steps.create(broken, "sh", "-c", "yes 0123456789012345678901234567890123456789 | head -c 20000000; echo; echo END")
    deaf, _ = broken.api.hijack(f"/containers/{flood}/attach", stream=True, stdout=True)
    good, _ = broken.api.hijack(f"/containers/{flood}/attach", stream=True, stdout=True)
    broken.api("POST", f"/containers/{flood}/start").ok(204)
    tail = b""
    while part := good.recv(1 << 20):
        tail = (tail + part)[-100:]
    good.close()
    assert b"END\n" in tail
    assert steps.exit_code(broken, steps.start(broken, "true")) == 0
    assert steps.exit_code(broken, flood) == 0
    deaf.close()


def test_output_that_nobody_reads_makes_only_its_container_wait(broken: Engine) -> None:
    flood = steps.create(broken, "sh", "-c", "yes | head -c 20000000")
    deaf, _ = broken.api.hijack(f"/containers/{flood}/attach", stream=True, stdout=True)
    broken.api("POST", f"/containers/{flood}/start").ok(204)
    assert steps.exit_code(broken, steps.start(broken, "true")) == 0
    assert steps.listed(broken, flood) == "running"
    deaf.close()
    assert steps.exit_code(broken, flood) == 0


def test_what_saw_the_first_output_may_ask_before_the_start_is_told(broken: Engine) -> None:
    """The daemon sleeps in the middle of a start; calls that come meanwhile find a container that is about to run."""
    broken.stop()
    broken.start(PIER_FAIL="start.run:sleep=0.5@1")
    container = steps.create(broken, *steps.SLEEP)
    started = raw(broken, "POST", f"/containers/{container}/start")
    asked = [raw(broken, "GET", f"/containers/{container}/top"), raw(broken, "POST", f"/containers/{container}/kill", signal="KILL")]
    for client, status in zip([started, *asked], (204, 200, 204), strict=True):
        with client:
            assert client.recv(4096).split(b"\r\n")[0].split()[1] == str(status).encode()
