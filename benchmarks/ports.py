"""The measures of published ports: what they cost a run, how many processes they are, a new connection beside 10,000 of them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.contenders import IMAGE, Contenders, said
from benchmarks.measures import interleaved
from benchmarks.table import Row, judged

_MANY = 10_000
_SERVER = """
import socket
s = socket.create_server(("0.0.0.0", 80), backlog=512)
print("listens", flush=True)
while True:
    s.accept()[0].close()
"""
_CLIENT = """
import socket, statistics, sys, time
took = []
for _ in range(1000):
    began = time.perf_counter()
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    took.append(time.perf_counter() - began)
    s.recv(1)
    s.close()
print(statistics.median(took) * 1000)
"""


def ports(c: Contenders, rounds: int) -> list[Row]:
    """A run with 1 and with 100 published ports; processes of 1,000; a new connection beside 10 and beside 10,000."""
    few = max(2, rounds // 3)  # a hundred ports take Docker seconds
    rows = []
    for number, times, least in ((1, rounds, 10), (100, few, 20)):
        words = ("run", "--rm", "-p", f"28000-{27999 + number}:8000-{7999 + number}", IMAGE, "true")
        pier, docker = interleaved(times, c.pier(*words), c.docker(*words))
        rows.append(judged(Row(f"run --rm with {number} published port{'s' if number > 1 else ''}", pier, docker), least_ratio=least))
    before = len(c.engine.namespaces.processes())
    with _running(c, "bench-thousand", "-p", "20000-20999:1000-1999"):
        more = len(c.engine.namespaces.processes()) - before
    rows.append(Row("processes of a container with 1,000 published ports", more, unit="", bar="1", met=more == 1))
    with _running(c, "bench-few", "-p", "20000:80", "-p", "20001-20009:1-9") as pid, _serving(pid):
        ten = _latency(c, 20000)
    with _running(c, "bench-many", "-p", "20000:80", "-p", f"30000-{29999 + _MANY}:1-{_MANY}") as pid, _serving(pid):
        many = _latency(c, 20000)
    note = f"beside 10: {ten:.3f} ms"
    return [*rows, Row(f"a new connection to a port beside {_MANY:,} others", many, bar="< 1.2x of 10", met=many < 1.2 * ten, note=note)]


@contextmanager
def _running(c: Contenders, name: str, *options: str) -> Iterator[int]:
    """A container of Pier's; its process."""
    said(*c.pier("run", "-d", "--name", name, *options, IMAGE, "sleep", "3600"))
    try:
        yield int(said(*c.pier("inspect", "--format", "{{.State.Pid}}", name)))
    finally:
        said(*c.pier("rm", "-f", name))


@contextmanager
def _serving(pid: int) -> Iterator[None]:
    """A server on port 80 in the network of a process."""
    argv = ["nsenter", "--target", str(pid), "--net", "--", sys.executable, "-c", _SERVER]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None and server.stdout.readline(), "the server does not listen"
            yield
        finally:
            server.kill()


def _latency(c: Contenders, port: int) -> float:
    """Median milliseconds of a connection from the host, best of three: others may be at work on this machine."""
    argv = ["nsenter", "--target", str(c.engine.namespaces.pid), "--net", "--", sys.executable, "-c", _CLIENT, str(port)]
    return min(float(said(argv)) for _ in range(3))


PORTS: dict[str, Callable[[Contenders, int], list[Row]]] = {"ports": ports}
