"""The measures of images: pull, push, save, load, rmi, commit beside Docker and Podman, from and to the same docker-registry."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import fixtures, registries
from benchmarks.contenders import Contenders, docker_client, said, timed
from benchmarks.measures import Command, engine_pss
from benchmarks.pings import Pings
from benchmarks.registries import HOST, Blobs
from benchmarks.table import Row, judged, median_ms, percentile
from tests.harness import images, reference

_INSECURE = ("--tls-verify=false",)  # Podman asks for it on loopback, too
_COLD_ROUNDS = int(os.environ.get("BENCH_COLD_ROUNDS", "3"))


@dataclass(frozen=True)
class Registry:
    """Where the images lie, and whose names there are."""

    blobs: Blobs
    debian: str = f"{HOST}/bench/debian:latest"
    compilers: str = f"{HOST}/bench/compilers:latest"

    @property
    def family(self) -> list[str]:
        return [f"{HOST}/bench/family-{number}:latest" for number in range(20)]


@contextmanager
def filled(c: Contenders) -> Iterator[Registry]:
    """A registry with the images, pushed by Docker where it is there (its compression is what registries are full of), else by Pier."""
    with ExitStack() as stack:
        blobs = Blobs(stack)
        registries.serve_all(c, blobs)
        registry = Registry(blobs)
        kept = fixtures.cache() / "registry"
        if blobs.take(kept):
            yield registry
            return
        command = c.docker if c.docker_host else c.pier
        sources = [(fixtures.debian(), registry.debian), (fixtures.compilers(), registry.compilers)]
        sources += zip(fixtures.family(), registry.family, strict=True)
        for archive, name in sources:
            local = f"{archive.stem}:latest"
            for words in (("load", "-q", "-i", str(archive)), ("tag", local, name), ("push", "-q", name), ("rmi", local, name)):
                _must(command(*words))
        blobs.keep(kept)
        yield registry


@contextmanager
def fresh(registry: Registry, *, alone: bool = False, **env: str) -> Iterator[Contenders]:
    """Contenders that have seen no image yet, with registries over the same blobs. alone: Pier and no other."""
    with ExitStack() as stack:
        engine = stack.enter_context(fixtures.engine(env))
        peers, docker_host = None, ""
        if not alone and reference.available():
            peers = stack.enter_context(reference.Reference())
            docker_host = peers.start_dockerd()
        made = Contenders(engine, docker_host, "" if alone else docker_client(), peers)
        own = replace(registry, blobs=_shared(registry.blobs, stack))
        registries.serve_all(made, own.blobs)
        yield made


def _shared(blobs: Blobs, stack: ExitStack) -> Blobs:
    """The same folder, served until another stack ends."""
    other = object.__new__(Blobs)
    other.__dict__ |= {**blobs.__dict__, "_stack": stack}
    return other


def pull(c: Contenders, rounds: int) -> list[Row]:
    """Cold pulls on engines that are new each time; then removal and pull four times on the last of them."""
    cold: dict[str, list[list[float]]] = {name: [[], [], []] for name in ("debian", "compilers", "family")}
    again: list[list[float]] = [[], [], []]
    up_to_date: list[float] = []
    round_trips: list[float] = []
    with filled(c) as registry:
        wanted = {"debian": [registry.debian], "compilers": [registry.compilers]}
        for _ in range(_COLD_ROUNDS):
            with fresh(registry) as made:
                commands = _commands(made)
                for what, names in wanted.items():
                    for times, command in zip(cold[what], commands, strict=True):
                        times += _pulls(command, names)
                        _remove(command, names)
                fourth = [0.0, 0.0, 0.0]
                for _turn in range(4):
                    for position, command in enumerate(commands):
                        _remove(command, [registry.debian])
                        fourth[position] = sum(_pulls(command, [registry.debian]))
                for times, took in zip(again, fourth, strict=True):
                    times += [took] if took else []
                up_to_date += [timed(*made.pier("pull", "-q", registry.debian)) for _turn in range(rounds)]
                round_trips += [_round_trip(made) for _turn in range(rounds)]
        for _ in range(min(_COLD_ROUNDS, 2)):
            with fresh(registry) as made:
                for times, command in zip(cold["family"], _commands(made), strict=True):
                    times += [sum(took)] if (took := _pulls(command, registry.family)) else []
        # The others do what they did above: they are not measured twice.
        unpacked: list[list[float]] = [[], *cold["compilers"][1:]]
        for _ in range(_COLD_ROUNDS):
            with fresh(registry, alone=True, PIER_FEATURES="-erofs") as made:
                unpacked[0] += _pulls(made.pier, [registry.compilers])
    trip = median_ms(round_trips)
    return [
        _row("pull of a Debian image, cold", cold["debian"], least=3, podman=3),
        _row("pull of a Debian with compilers, six layers, cold", cold["compilers"], least=3, podman=3),
        _row("pull of Debian after a removal, the fourth time", again, least=6),
        _row("the same with compilers, unpacked layers", unpacked, least=2),
        _row("pull of 20 images that share layers", cold["family"], least=3),
        judged(Row("pull of what is there", median_ms(up_to_date), note=f"a round trip takes {trip:.1f} ms"), most=30 + trip),
    ]


def push(c: Contenders, rounds: int) -> list[Row]:
    """Cold pushes of a loaded image to a registry that was emptied, and pushes of what is there."""
    cold: list[list[float]] = [[], [], []]
    same: list[list[float]] = [[], [], []]
    with filled(c) as registry, fresh(registry) as made:
        for _ in range(_COLD_ROUNDS):
            for position, command in enumerate(_commands(made)):
                if command("version") is None:
                    continue
                _must(command("load", "-q", "-i", str(_visible(made, fixtures.debian()))))
                _must(command("tag", "debian:latest", registry.debian))
                registry.blobs.empty()
                cold[position].append(timed(*_some(command("push", *_flags(command, made), registry.debian))))
                same[position] += [timed(*_some(command("push", *_flags(command, made), registry.debian))) for _turn in range(3)]
                _must(command("rmi", "-f", registry.debian, "debian:latest"))
    return [
        _row("push of a Debian image, cold", cold, least=4),
        _row("push, nothing new", same, most=50),
    ]


def archives(c: Contenders, rounds: int) -> list[Row]:
    """save, load, rmi of a Debian image; commit of 100 MB."""
    took: dict[str, list[list[float]]] = {name: [[], [], []] for name in ("save", "load", "rmi", "commit")}
    with ExitStack() as stack:
        made = stack.enter_context(fresh_alone())
        source = str(_visible(made, fixtures.debian()))
        for position, command in enumerate(_commands(made)):
            if command("version") is None:
                continue
            for _ in range(_COLD_ROUNDS + 1):
                took["load"][position].append(timed(*_some(command("load", "-q", "-i", source))))
                target = str(made.engine.roots / f"saved-{position}.tar")
                Path(target).unlink(missing_ok=True)
                took["save"][position].append(timed(*_some(command("save", "-o", target, "debian:latest"))))
                took["rmi"][position].append(timed(*_some(command("rmi", "debian:latest"))))
            _must(command("load", "-q", "-i", source))
            _must(command("run", "--name", "changed", "debian:latest", "sh", "-c", "head -c 100000000 /dev/urandom > /hundred"))
            for _ in range(_COLD_ROUNDS + 1):
                quiet = ("-q",) if _is_podman(command, made) else ()
                took["commit"][position].append(timed(*_some(command("commit", *quiet, "changed", "committed:latest"))))
                _must(command("rmi", "committed:latest"))
            _must(command("rm", "changed"))
    return [
        _row("save of a Debian image", took["save"], least=2),
        _row("load of a Debian image", took["load"], least=4),
        _row("rmi of a Debian image", took["rmi"], least=4),
        _row("commit of 100 MB", took["commit"], least=2),
    ]


def beside(c: Contenders, rounds: int) -> list[Row]:
    """What others feel of a pull of six layers: `_ping`, `run`; and what all of Pier's processes take meanwhile and while pushing and saving."""
    with filled(c) as registry, fresh(registry) as made:
        made.engine.api("POST", "/images/load", data=_busybox(made)).ok()
        words = made.pier("run", "--rm", "bench/busybox:latest", "true")
        alone = [timed(*words) for _ in range(rounds)]

        def pulls() -> None:
            timed(*made.pier("pull", "-q", registry.compilers))

        def everything() -> None:
            timed(*made.pier("rmi", registry.compilers))
            pulls()
            archive = str(made.engine.roots / "weighed.tar")
            timed(*made.pier("save", "-o", archive, registry.compilers))
            timed(*made.pier("rmi", registry.compilers))
            timed(*made.pier("load", "-q", "-i", archive))
            registry.blobs.empty()
            timed(*made.pier("push", "-q", registry.compilers))

        def weigh() -> float:
            time.sleep(0.3)
            return engine_pss(made.engine)

        with Pings(made.engine.socket) as pings:
            during = _meanwhile(pulls, lambda: timed(*words))
        peak = max(_meanwhile(everything, weigh))
    usual, slowed = median_ms(alone), median_ms(during)
    middle, floor = percentile(pings.daemon, 0.5), percentile(pings.floor, 0.99)
    note = f"median {middle:.1f} ms, {len(pings.daemon)} pings; p99 of the smallest asyncio server meanwhile: {floor:.1f} ms"
    return [
        judged(Row("_ping during a pull of six layers, p99", percentile(pings.daemon, 0.99), note=note), most=20),
        judged(Row("run during a pull of six layers", slowed, note=f"alone {usual:.1f} ms, {len(during)} runs"), most=2 * usual),
        judged(Row("all of Pier's processes, at most, pull save load push", peak, unit="MB"), most=200),
    ]


def _meanwhile(body: Callable[[], None], again: Callable[[], float]) -> list[float]:
    """What `again` returned, called over and over while `body` runs in a thread."""
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(body)
        got = []
        while not work.done():
            got.append(again())
        work.result()
    return got


@contextmanager
def fresh_alone() -> Iterator[Contenders]:
    """Fresh contenders without a registry."""
    with ExitStack() as stack:
        engine = stack.enter_context(fixtures.engine())
        peers, docker_host = None, ""
        if reference.available():
            peers = stack.enter_context(reference.Reference())
            docker_host = peers.start_dockerd()
        yield Contenders(engine, docker_host, docker_client(), peers)


Contender = Callable[..., Command]


def _commands(made: Contenders) -> list[Contender]:
    return [made.pier, made.docker, made.podman]


def _is_podman(command: Contender, made: Contenders) -> bool:
    return command == made.podman


def _flags(command: Contender, made: Contenders) -> tuple[str, ...]:
    return (*_INSECURE, "-q") if _is_podman(command, made) else ("-q",)


def _pulls(command: Contender, names: Sequence[str]) -> list[float]:
    """Seconds of each pull; nothing where the contender is not there."""
    if command("version") is None:
        return []
    flags = (*_INSECURE, "-q") if getattr(command, "__name__", "") == "podman" else ("-q",)
    return [timed(*_some(command("pull", *flags, name))) for name in names]


def _remove(command: Contender, names: Sequence[str]) -> None:
    if words := command("rmi", "-f", *names):
        timed(*words)


def _must(command: Command) -> None:
    if command is not None:
        timed(*command)


def _some(command: Command) -> tuple[list[str], dict[str, str]]:
    assert command is not None
    return command


def _round_trip(made: Contenders) -> float:
    """Seconds of a connection to the registry."""
    connect = f"socket.create_connection(('127.0.0.1', {registries.PORT}))"
    script = f"import socket, time; t = time.perf_counter(); {connect}; print(time.perf_counter() - t)"
    return float(said(made.engine.namespaces.argv("python3", "-c", script)))


def _visible(made: Contenders, path: Path) -> Path:
    """A copy in /tmp, which every contender sees."""
    target = made.engine.roots / path.name
    if not target.exists():
        os.link(path, target) if os.stat(path).st_dev == os.stat(made.engine.roots).st_dev else target.write_bytes(path.read_bytes())
    return target


def _busybox(made: Contenders) -> bytes:
    images.busybox_archive(made.engine.roots / "busybox.tar", "bench/busybox:latest")
    return (made.engine.roots / "busybox.tar").read_bytes()


def _row(what: str, took: Sequence[Sequence[float]], *, least: float = 0.0, most: float = 0.0, podman: float = 0.0) -> Row:
    pier, docker, other = (median_ms(times) if times else None for times in took)
    row = judged(Row(what, pier, docker, other), least_ratio=least, most=most)
    if podman and pier and other:
        ratio = other / pier
        row = replace(row, note=f"{ratio:.1f}x faster than Podman", met=None if row.met is None else row.met and ratio >= podman)
    return row


TRANSFERS: dict[str, Callable[[Contenders, int], list[Row]]] = {"pull": pull, "push": push, "archives": archives, "beside": beside}
