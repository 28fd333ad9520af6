"""The measures of networks: what they cost a run, how fast they are made, names, throughput; beside Docker where it is there.

Questions and streams are made by processes that enter the containers' network namespaces, the same ones for both engines.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.contenders import IMAGE, Contenders, said, timed
from benchmarks.measures import interleaved
from benchmarks.table import Row, judged, percentile
from tests.harness.api import Api

Command = Callable[..., "tuple[list[str], dict[str, str]] | None"]
_MANY = int(os.environ.get("BENCH_NETWORKS", "2000"))
_PORT = 5299  # of the host, where iperf3 listens in the second container of a pair
_STREAM_S = os.environ.get("BENCH_STREAM_S", "3")


def networks(c: Contenders, rounds: int) -> list[Row]:
    """With a network and without; 100 networks; the 2,000th."""
    words = [("run", "--rm", *network, IMAGE, "true") for network in ((), ("--network", "none"))]
    commands = [command(*each) for command in (c.pier, c.docker) for each in words]
    with_pier, without_pier, with_docker, without_docker = interleaved(rounds, *commands)
    assert with_pier is not None and without_pier is not None
    docker = with_docker - without_docker if with_docker is not None and without_docker is not None else None
    found = [judged(Row("run with network, less without", with_pier - without_pier, docker), most=5)]
    made = {name: _hundred(api) for name, api in _apis(c).items()}
    found.append(judged(Row("100 networks created and removed", made["pier"], made.get("docker")), least_ratio=10))
    return [*found, *_many(c.engine.api)]


def _apis(c: Contenders) -> dict[str, Api]:
    found = {"pier": c.engine.api}
    if c.docker_host:
        found["docker"] = Api(c.docker_host.removeprefix("unix://"))
    return found


def _create(api: Api, number: int) -> float:
    """Seconds. The pools of both engines have fewer networks than that: subnets are named."""
    subnet = f"10.{100 + number // 256}.{number % 256}.0/24"
    began = time.perf_counter()
    api("POST", "/networks/create", {"Name": f"bench{number}", "IPAM": {"Config": [{"Subnet": subnet}]}}).ok(201)
    return time.perf_counter() - began


def _remove(api: Api, number: int) -> float:
    began = time.perf_counter()
    api("DELETE", f"/networks/bench{number}").ok(204)
    return time.perf_counter() - began


def _hundred(api: Api) -> float:
    return 1000 * (sum(_create(api, number) for number in range(100)) + sum(_remove(api, number) for number in range(100)))


def _many(api: Api) -> list[Row]:
    """Whether a network costs more where there are thousands."""
    made = [_create(api, number) for number in range(_MANY)]
    gone = [_remove(api, number) for number in reversed(range(_MANY))]
    edge = max(1, _MANY // 20)
    rows = []
    for what, few, many in (("created", made[:edge], made[-edge:]), ("removed", gone[-edge:], gone[:edge])):
        first, last = percentile(few, 0.5) * 1000, percentile(many, 0.5) * 1000
        rows.append(
            Row(f"a network {what} beside {_MANY:,} others", last, bar="< 2x the first", met=last < 2 * first, note=f"the first: {first:.1f} ms")
        )
    return rows


@contextmanager
def _pair(command: Command) -> Iterator[tuple[int, int, str] | None]:
    """Two containers of a network of their own: (pid, pid, address of the second's); None where the engine is not there."""
    if command("version") is None:
        yield None
        return

    def ask(*words: str) -> str:
        made = command(*words)
        assert made is not None
        return said(*made).splitlines()[-1]

    ask("network", "create", "--subnet", "10.99.7.0/24", "bench-pair")
    try:
        both = (("bench-a", ()), ("bench-b", ("-p", f"127.0.0.1:{_PORT}:5201")))
        ids = [ask("run", "-d", "--network", "bench-pair", "--name", name, *more, IMAGE, "sleep", "3600") for name, more in both]
        pids = [int(ask("inspect", "--format", "{{.State.Pid}}", each)) for each in ids]
        yield pids[0], pids[1], "10.99.7.3"
    finally:
        for words in (("rm", "-f", "bench-a", "bench-b"), ("network", "rm", "bench-pair")):
            if (made := command(*words)) is not None:
                timed(*made)


def _inside(pid: int, *words: str) -> list[str]:
    return ["nsenter", "--target", str(pid), "--net", "--", *words]


def dns(c: Contenders, rounds: int) -> list[Row]:
    """Names of the own network, asked by one container: answers each second with sixteen under way, median latency of one after another."""
    figures: dict[str, dict[str, float]] = {}
    for engine, command in (("pier", c.pier), ("docker", c.docker)):
        with _pair(command) as pair:
            if pair is not None:
                told = said(_inside(pair[0], sys.executable, "-m", "benchmarks.dns_client", "127.0.0.11", "bench-b"))
                figures[engine] = json.loads(told.splitlines()[-1])
    pier, docker = figures["pier"], figures.get("docker")
    fast = None if docker is None else pier["each_s"] >= docker["each_s"]
    return [
        Row("names answered each second, one container", pier["each_s"], docker and docker["each_s"], unit="/s", bar=">= Docker", met=fast),
        judged(Row("a name, median", pier["median_ms"], docker and docker["median_ms"]), least_ratio=1),
    ]


def throughput(c: Contenders, rounds: int) -> list[Row]:
    """iperf3 between containers, from a container to the host and from there through a published port, beside a bare veth between two namespaces."""
    if not shutil.which("iperf3"):
        return [Row("throughput", None, note="no iperf3 here")]
    bare = _bare_veth()
    rows = []
    figures: dict[str, list[float]] = {}
    for engine, command, host in (("pier", c.pier, c.engine.namespaces.pid), ("docker", c.docker, c.peers.pid if c.peers else 0)):
        with _pair(command) as pair:
            if pair is not None and host:
                one, two, address = pair
                figures[engine] = [_stream(one, two, address), _stream(one, host, "10.99.7.1"), _stream(host, two, "127.0.0.1", _PORT)]
    for number, what in enumerate(("container to container", "container to host")):
        pier, docker = figures["pier"][number], figures["docker"][number] if "docker" in figures else None
        rows.append(Row(what, pier, docker, unit="Gbit/s", bar=">= 97 % of a veth", met=pier >= 0.97 * bare, note=f"a bare veth: {bare:.1f}"))
    published, docker = figures["pier"][2], figures["docker"][2] if "docker" in figures else None
    better = None if docker is None else published > docker
    return [*rows, Row("host to container by 127.0.0.1 and a published port", published, docker, unit="Gbit/s", bar="> Docker", met=better)]


def _stream(client: int, server: int, address: str, port: int = 5201) -> float:
    """Gbit/s of one TCP stream, best of three."""
    return max(_stream_once(client, server, address, port) for _ in range(3))


def _stream_once(client: int, server: int, address: str, port: int) -> float:
    serving = subprocess.Popen(_inside(server, "iperf3", "--server", "--one-off", "--forceflush"), stdout=subprocess.PIPE, text=True)
    try:
        assert serving.stdout is not None
        while "Server listening" not in (line := serving.stdout.readline()):
            assert line, "iperf3 does not serve"
        told = json.loads(said(_inside(client, "iperf3", "--client", address, "--port", str(port), "--time", _STREAM_S, "--json")))
        return float(told["end"]["sum_received"]["bits_per_second"]) / 1e9
    finally:
        serving.kill()
        serving.wait()


def _bare_veth() -> float:
    """The same between two namespaces with nothing but a veth."""
    spaces = [subprocess.Popen(["unshare", "--net", "sleep", "600"]) for _ in range(2)]
    try:
        own = os.readlink("/proc/self/ns/net")
        for space in spaces:
            while os.readlink(f"/proc/{space.pid}/ns/net") == own:
                time.sleep(0.01)
        one, two = (space.pid for space in spaces)
        said(_inside(one, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", str(two)))
        for pid, address in ((one, "10.99.8.1/24"), (two, "10.99.8.2/24")):
            said(_inside(pid, "ip", "addr", "add", address, "dev", "eth0"))
            said(_inside(pid, "ip", "link", "set", "eth0", "up"))
        return _stream(one, two, "10.99.8.2")
    finally:
        for space in spaces:
            space.kill()
            space.wait()


NETWORKS: dict[str, Callable[[Contenders, int], list[Row]]] = {"networks": networks, "dns": dns, "throughput": throughput}
