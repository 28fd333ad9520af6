"""Published ports when somebody dies, flushes the firewall, or has the port already."""

import contextlib
import errno
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.harness.commands import eventually
from tests.harness.engine import Engine

from .isolated import Namespace
from .positions import Entered, server, who
from .test_published_packets import start

HELD = {"80/tcp": [{"HostPort": "8080"}], "80/udp": [{"HostPort": "8080"}], "81/tcp": [{"HostIp": "127.0.0.1", "HostPort": "0"}]}


@pytest.fixture
def host(engine: Engine) -> Iterator[Namespace]:
    with Entered(engine.namespaces.pid) as entered:
        yield entered


def can_bind(port: int, kind: int = socket.SOCK_STREAM, address: str = "0.0.0.0") -> bool:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((address, port))
        except OSError as error:
            assert error.errno == errno.EADDRINUSE
            return False
        return True


def ports_of(engine: Engine, name: str) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = engine.api.get(f"/containers/{name}/json")["NetworkSettings"]["Ports"]
    return found


def test_while_the_daemon_is_away_and_after_every_death(engine: Engine, host: Namespace) -> None:
    start(engine, "web", "bridge", HELD)
    before = ports_of(engine, "web")
    random = int(before["81/tcp"][0]["HostPort"])
    with server(engine, "web", [80, 81]):

        def works() -> bool:
            answers = [host(who, *asked) for asked in (("127.0.0.1", 8080), ("127.0.0.1", 8080, "udp"), ("::1", 8080), ("127.0.0.1", random))]
            return [said.split()[0] for said in answers if said] == ["80", "80", "80", "81"]

        def held() -> bool:
            asked = ((8080,), (8080, socket.SOCK_DGRAM), (random,), (8080, socket.SOCK_STREAM, "127.0.0.1"))
            return not any(host(can_bind, *each) for each in asked)

        assert works() and held()
        engine.kill("daemon")
        assert works() and held()
        rules = host(_ruleset)
        engine.start()
        assert works() and held() and ports_of(engine, "web") == before
        assert host(_ruleset) == rules, "the firewall was touched"
        engine.kill("netd")
        assert held(), "the keeper has duplicates"
        eventually(works, says="the next netd goes on")
        engine.kill("keeper")
        eventually(lambda: works() and held(), says="the next keeper and netd hold them")
        host(_flush)
        eventually(works, says="the firewall is put back")
        engine.api("POST", "/containers/web/restart", t=0).ok(204)
    assert ports_of(engine, "web") == before, "a random port stays"
    engine.api("DELETE", "/containers/web", force=True).ok(204)
    assert host(can_bind, 8080) and host(can_bind, 8080, socket.SOCK_DGRAM) and host(can_bind, random)


def _ruleset() -> str:
    """The firewall with what is in it."""
    return subprocess.run(["nft", "-j", "list", "ruleset"], capture_output=True, text=True, check=True).stdout


def _flush() -> None:
    subprocess.run(["nft", "flush", "ruleset"], check=True)


def test_who_has_a_port_is_named(engine: Engine, host: Namespace) -> None:
    start(engine, "web", "bridge", HELD)
    taken = "failed: port is already allocated: container"
    cases: tuple[tuple[str, dict[str, object], str], ...] = (
        ("again", {"80/tcp": [{"HostPort": "8080"}]}, f"Bind for 0.0.0.0:8080 {taken} web has it"),
        ("part", {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}, f"Bind for 127.0.0.1:8080 {taken} web has it"),
        ("twice", {"80/tcp": [{"HostPort": "7"}], "81/tcp": [{"HostPort": "7"}]}, f"Bind for 0.0.0.0:7 {taken} twice has it"),
        ("nowhere", {"80/tcp": [{"HostIp": "9.9.9.9", "HostPort": "7"}]}, "failed to bind host port for 9.9.9.9:7:172.17.0."),
    )
    for name, bindings, text in cases:
        _refused(engine, name, bindings, text)
    assert host(can_bind, 7), "nothing is held by those that failed"


def _refused(engine: Engine, name: str, bindings: dict[str, object], text: str) -> None:
    body = {"Image": "busybox:latest", "Cmd": ["sleep", "600"], "HostConfig": {"PortBindings": bindings}}
    engine.api("POST", "/containers/create", body, name=name).ok(201)
    answer = engine.api("POST", f"/containers/{name}/start")
    where = f"failed to set up container networking: driver failed programming external connectivity on endpoint {name} ("
    assert answer.status == 500 and answer.json["message"].startswith(where) and text in answer.json["message"], answer.json
    state = engine.api.get(f"/containers/{name}/json")["State"]
    assert (state["Status"], state["ExitCode"], state["Error"]) == ("created", 128, answer.json["message"])


def test_a_process_that_has_a_port_is_named(engine: Engine) -> None:
    argv = ["python3", "-c", "import socket,time; s=socket.socket(); s.bind(('127.0.0.1', 8099)); s.listen(); print(1, flush=True); time.sleep(60)"]
    with subprocess.Popen(engine.namespaces.argv(*argv), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        try:
            _refused(engine, "web", {"80/tcp": [{"HostPort": "8099"}]}, "address already in use: python3 (pid ")
            _refused(engine, "web2", {"80/tcp": [{"HostPort": "8099-8099"}]}, "failed to bind host port for 0.0.0.0:8099:172.17.0.")
            start(engine, "web3", "bridge", {"80/tcp": [{"HostPort": "8099-8100"}]})
            assert ports_of(engine, "web3")["80/tcp"][0]["HostPort"] == "8100"
        finally:
            process.kill()


POINTS = ("publish.bound", "publish.row", "publish.held", "publish.rules", "withdraw.rules", "withdraw.sockets")


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_instant_leaves_nothing(engine: Engine, host: Namespace, point: str) -> None:
    body = {"Image": "busybox:latest", "Cmd": ["sleep", "600"], "HostConfig": {"PortBindings": HELD}}
    engine.api("POST", "/containers/create", body, name="web").ok(201)
    engine.stop()
    engine.start(PIER_FAIL=f"{point}:kill")
    with contextlib.suppress(OSError, AssertionError):
        engine.api("POST", "/containers/web/start").ok(204)
        engine.api("POST", "/containers/web/stop", t=0).ok(204)
    eventually(lambda: engine.namespaces.exit_code(engine.pid) is not None, says=f"{point} is passed")
    engine.start()
    eventually(lambda: host(can_bind, 8080) and host(can_bind, 8080, socket.SOCK_DGRAM), says="the ports are free again")
    eventually(lambda: engine.api("POST", "/containers/web/start").status == 204, says="and can be published again")
    with server(engine, "web", [80]):
        assert host(who, "127.0.0.1", 8080).startswith("80 ") and host(who, "::1", 8080).startswith("80 ")


def test_ports_of_a_running_container_come_and_go(engine: Engine, host: Namespace) -> None:
    start(engine, "web", "bridge", {"80/tcp": [{"HostPort": "8080"}]})
    with server(engine, "web", [80, 81]):
        engine.pier("update", "--publish-add", "127.0.0.1:8081:81", "--publish-add", "8082:80", "web").ok()
        assert [host(who, "127.0.0.1", port)[:2] for port in (8080, 8081, 8082)] == ["80", "81", "80"]
        engine.pier("update", "--publish-rm", "8082:80", "web").ok()
        assert host(who, "127.0.0.1", 8080) and not host(who, "127.0.0.1", 8082, timeout_s=0.5) and host(can_bind, 8082)
        engine.pier("update", "--publish-rm", "8082:80", "web").fails(1, "port 8082:80/tcp is not published")
        start(engine, "other", "bridge", {"80/tcp": [{"HostPort": "8083"}]})
        engine.pier("update", "--publish-add", "8083:81", "web").fails(1, "port is already allocated: container other has it")
        assert host(who, "127.0.0.1", 8080) and host(who, "127.0.0.1", 8081), "as it was"
        engine.stop()
        engine.start(PIER_FAIL="ports.recorded:kill")
        assert engine.pier("update", "--publish-rm", "80", "--publish-add", "8084:81", "web").code != 0
        eventually(lambda: engine.namespaces.exit_code(engine.pid) is not None, says="the point is passed")
        engine.start()
        assert set(ports_of(engine, "web")) == {"80/tcp", "81/tcp"} and ports_of(engine, "web")["80/tcp"] is None
        eventually(lambda: host(who, "127.0.0.1", 8084, timeout_s=0.5), says="the record is carried out")
        assert host(can_bind, 8080)
    engine.api("POST", "/containers/web/restart", t=0).ok(204)
    assert len(ports_of(engine, "web")["81/tcp"]) == 3


HERE = "203.0.113.9"


def _ask_on(source: int) -> str:
    """Ask from one and the same port of UDP, as a client does that never pauses: "PORT ADDRESS", "" where nobody answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HERE, source))
        sock.settimeout(0.5)
        try:
            sock.sendto(b"?", (HERE, 8053))
            return sock.recv(100).decode()
        except OSError:
            return ""


def test_flows_of_udp_that_are_older_than_their_port(engine: Engine, host: Namespace) -> None:
    """The kernel keeps where a flow goes for 30 s after its last packet: to nobody, to netd's socket, to the container before."""

    def ip(action: str) -> None:
        subprocess.run(["ip", "address", action, f"{HERE}/32", "dev", "lo"], check=True)

    host(ip, "add")
    try:
        assert host(_ask_on, 40053) == ""
        for name, port in (("one", 53), ("two", 54)):
            start(engine, name, "bridge", {f"{port}/udp": [{"HostPort": "8053"}]})
            with server(engine, name, [port]):
                for source in (40053, 40054):
                    assert host(_ask_on, source) == f"{port} {HERE}"
            engine.api("DELETE", f"/containers/{name}", force="true").ok(204)
        assert host(_ask_on, 40053) == ""
    finally:
        host(ip, "del")
