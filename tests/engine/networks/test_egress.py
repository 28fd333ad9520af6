"""Egress lists through a real daemon: a neighbour of the host answers TCP at three addresses, a name server of the test knows two of them."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.harness.commands import eventually, run
from tests.harness.engine import Engine

from .positions import Entered
from .test_user_networks import create, run_in, start

LAN = ("198.51.100.1", "198.51.100.2", "198.51.100.3")
RESOLVER = "127.0.0.53"
SERVE = f"""
import socket, threading
def serve(address, port):
    listener = socket.create_server((address, port))
    while True:
        listener.accept()[0].close()
for address in {LAN!r}:
    for port in (80, 443):
        threading.Thread(target=serve, args=(address, port)).start()
"""
NAMES = f"""
import dns.message, dns.rrset, socket
known = {{"two.test.": "{LAN[1]}", "www.three.test.": "{LAN[2]}"}}
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("{RESOLVER}", 53))
while True:
    data, client = sock.recvfrom(4096)
    question = dns.message.from_wire(data)
    answer = dns.message.make_response(question)
    name = str(question.question[0].name)
    if question.question[0].rdtype == 1 and name in known:
        answer.answer = [dns.rrset.from_text(name, 1, "IN", "A", known[name])]
    sock.sendto(answer.to_wire(), client)
"""


@pytest.fixture(scope="module", autouse=True)
def neighbour(engine_of_module: tuple[Engine, object]) -> Iterator[None]:
    engine = engine_of_module[0]
    enter, own = engine.namespaces.argv(), os.readlink(f"/proc/{engine.namespaces.pid}/ns/net")
    with subprocess.Popen([*enter, "unshare", "--net", "sleep", "600"]) as there:
        eventually(lambda: os.readlink(f"/proc/{there.pid}/ns/net") not in (own, os.readlink("/proc/self/ns/net")), says="the neighbour's namespace")
        inside = ["nsenter", "--target", str(there.pid), "--net", "--"]
        run([*enter, "ip", "link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", str(there.pid)]).ok()
        run([*enter, "sh", "-c", "ip addr add 198.51.100.254/24 dev lan0; ip link set lan0 up"]).ok()
        run([*inside, "sh", "-c", " && ".join(["ip link set eth0 up", *(f"ip addr add {address}/24 dev eth0" for address in LAN)])]).ok()
        serving = subprocess.Popen([*inside, sys.executable, "-c", SERVE])
        names = subprocess.Popen([*enter, sys.executable, "-c", NAMES])
        try:
            for address in LAN:
                answers = [*enter, "timeout", "1", "bash", "-c", f"exec 3<>/dev/tcp/{address}/443"]
                eventually(lambda answers=answers: run(answers).code == 0, says=f"{address} answers")  # type: ignore[misc]
            yield
        finally:
            for process in (serving, names, there):
                process.kill()
            serving.wait()
            names.wait()
    run([*enter, "ip", "link", "del", "lan0"])


@pytest.fixture(autouse=True)
def the_table_goes_with_the_last_list(engine: Engine) -> Iterator[None]:
    yield
    for container in engine.api.get("/containers/json", all=True):
        if "lan" in container["NetworkSettings"]["Networks"]:
            engine.api("DELETE", f"/containers/{container['Id']}", force=True)
    engine.api("POST", "/networks/prune").ok()
    eventually(lambda: "egress" not in table(engine, "list", "tables"), says="the table goes")


def table(engine: Engine, *words: str) -> str:
    return run([*engine.namespaces.argv(), "nft", *words]).out


def egress_table(engine: Engine) -> str:
    return next(line.split()[2] for line in table(engine, "list", "tables").splitlines() if line.endswith("-egress"))


def reaches(engine: Engine, container: str, where: str, port: int = 443) -> bool:
    return run_in(engine, container, "timeout", "1", "nc", where, str(port))[0] == 0


def held(engine: Engine, name: str, text: str, **host: object) -> None:
    start(engine, name, "lan", HostConfig={"Annotations": {"com.pier.egress": text}, "Dns": [RESOLVER], **host})


def test_a_container_reaches_what_its_list_names(engine: Engine) -> None:
    create(engine, "lan", "10.81.0.0/24")
    held(engine, "one", f"{LAN[0]}:443")
    held(engine, "nothing", "none")
    start(engine, "free", "lan")
    assert reaches(engine, "one", LAN[0]) and reaches(engine, "free", LAN[1])
    assert not reaches(engine, "one", LAN[0], 80) and not reaches(engine, "one", LAN[1]) and not reaches(engine, "nothing", LAN[0])
    assert run_in(engine, "one", "ping", "-c", "1", "-W", "1", LAN[0])[0] == 1, "a port is named"
    assert run_in(engine, "one", "ping", "-c", "1", "-W", "5", "free")[0] == 0, "its own network is free"
    assert run_in(engine, "one", "ping", "-c", "1", "-W", "1", "10.81.0.1")[0] == 1, "the host is not"
    table(engine, "delete", "table", "ip", egress_table(engine))
    eventually(lambda: not reaches(engine, "one", LAN[1]), says="what was deleted is there again")
    assert reaches(engine, "one", LAN[0])


def test_a_name_lets_its_addresses_in(engine: Engine) -> None:
    create(engine, "lan", "10.81.0.0/24", Options={"com.pier.egress": "two.test,*.three.test:443"})
    start(engine, "one", "lan", HostConfig={"Dns": [RESOLVER]})
    held(engine, "less", "*.three.test:80,*.three.test:443")
    assert not reaches(engine, "one", LAN[1]), "nobody has asked for the name"
    assert reaches(engine, "one", "two.test") and reaches(engine, "one", LAN[1], 80)
    assert reaches(engine, "one", "www.three.test") and not reaches(engine, "one", "www.three.test", 80)
    assert not reaches(engine, "less", "two.test"), "what the container's own list does not name"
    assert reaches(engine, "less", "www.three.test") and not reaches(engine, "less", "www.three.test", 80), "both lists hold"
    written = engine.log_text().count("-egress written")
    engine.kill("netd")
    table(engine, "flush", "set", "ip", egress_table(engine), "network_named")
    eventually(lambda: reaches(engine, "one", "two.test"), says="the next netd goes on by itself")
    assert engine.log_text().count("-egress written") == written, "what netd puts into the sets is no reason for repairs"


def test_names_that_no_list_has_are_not_asked_outside(engine: Engine) -> None:
    create(engine, "lan", "10.81.0.0/24")
    start(engine, "free", "lan", HostConfig={"Dns": [RESOLVER]})
    held(engine, "nothing", "none")
    held(engine, "names", "*.three.test")
    held(engine, "server", f"{RESOLVER}:53")

    def finds(container: str, name: str) -> bool:
        return run_in(engine, container, "nslookup", "-type=a", name)[0] == 0

    assert finds("free", "two.test") and finds("names", "www.three.test") and finds("server", "two.test")
    assert not finds("nothing", "two.test") and not finds("names", "two.test")
    assert finds("nothing", "free") and finds("names", "free"), "its own network's names are answered"


def hears(address: str) -> bool:
    """Whether the host answers at its address on eth0's link."""
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.settimeout(0.7)
        try:
            sock.connect((address, 2222, 0, socket.if_nametoindex("eth0")))
            return sock.recv(10) == b"host"
        except OSError:
            return False


def test_the_host_is_not_reached_by_link_local_addresses_either(engine: Engine) -> None:
    create(engine, "lan", "10.81.0.0/24 fd00:81::/64", EnableIPv6=True)
    held(engine, "nothing", "none")
    start(engine, "free", "lan")
    link = f"br-{engine.api.get('/networks/lan')['Id'][:12]}"
    enter = engine.namespaces.argv()
    address = run([*enter, "ip", "-6", "-o", "addr", "show", "dev", link, "scope", "link"]).out.split()[3].partition("/")[0]
    serve = "import socket; sock = socket.create_server(('::', 2222), family=socket.AF_INET6)\nwhile True: sock.accept()[0].send(b'host')"
    with subprocess.Popen([*enter, sys.executable, "-c", serve]) as serving:
        try:
            pids = [engine.api.get(f"/containers/{name}/json")["State"]["Pid"] for name in ("free", "nothing")]
            with Entered(pids[0]) as free, Entered(pids[1]) as nothing:
                eventually(lambda: free(hears, address), says="who is free reaches it")
                assert not nothing(hears, address)
        finally:
            serving.kill()


def test_what_cannot_be_held_is_refused(engine: Engine) -> None:
    def refusal(text: str, **host: object) -> str:
        body = {"Image": "busybox:latest", "HostConfig": {"Annotations": {"com.pier.egress": text}, **host}}
        answer = engine.api("POST", "/containers/create", body)
        assert answer.status == 400
        return str(answer.json["message"])

    assert "invalid egress '10.0.0.1/8'" in refusal("10.0.0.1/8")
    assert "in network mode host has no addresses of its own" in refusal("none", NetworkMode="host")
    assert "names are resolved by the name server of networks of users" in refusal("two.test")
    create(engine, "lan", Driver="macvlan")
    assert "an egress list in network lan of driver macvlan" in refusal("none", NetworkMode="lan")
    answer = engine.api("POST", "/networks/create", {"Name": "x", "Driver": "macvlan", "Options": {"com.pier.egress": "none"}})
    assert answer.status == 400 and "an egress list of a network of driver macvlan" in answer.json["message"]
    assert "the port" in engine.api("POST", "/networks/create", {"Name": "x", "Options": {"com.pier.egress": "a.test:0"}}).json["message"]


def test_the_command_line(engine: Engine) -> None:
    engine.pier("network", "create", "--subnet", "10.81.0.0/24", "--egress", f"{LAN[0]}", "--egress", LAN[1], "lan").ok()
    assert engine.pier("network", "inspect", "-f", "{{json .Options}}", "lan").ok().line == f'{{"com.pier.egress":"{LAN[0]},{LAN[1]}"}}'
    engine.pier("run", "-d", "--name", "one", "--network", "lan", "--egress", f"{LAN[0]}:443", "busybox", "sleep", "300").ok()
    assert reaches(engine, "one", LAN[0]) and not reaches(engine, "one", LAN[1])


def test_a_list_holds_over_a_restart_of_the_daemon(engine: Engine) -> None:
    create(engine, "lan", "10.81.0.0/24")
    held(engine, "one", f"{LAN[0]}:443")
    held(engine, "nothing", "none")
    engine.kill("daemon")
    engine.start()
    assert reaches(engine, "one", LAN[0]) and not reaches(engine, "one", LAN[1]) and not reaches(engine, "nothing", LAN[0])
