"""A busybox root, and `run_container`: a spec with the defaults, changed as a test says, run by the blank child."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pier.oci.runtime_spec import Mount, Spec
from pier.runtime import defaults, facts
from pier.runtime import plan as planning
from tests.engine.runtime import launching

Run = Callable[..., launching.Outcome]


@pytest.fixture(scope="session")
def host() -> facts.HostFacts:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not os.path.exists(launching.BUSYBOX):
        pytest.skip("needs Debian's busybox-static")
    return facts.probe(f"test{os.getpid()}", wish="")


@pytest.fixture(scope="session")
def busybox_root(tmp_path_factory: pytest.TempPathFactory, host: facts.HostFacts) -> Path:
    return launching.make_root(tmp_path_factory.mktemp("busybox"))


@pytest.fixture
def root(tmp_path: Path, busybox_root: Path) -> Iterator[Path]:
    """A folder with `lower` (an empty layer on top of busybox, for a test to fill), `upper` and `work`."""
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    yield tmp_path
    shutil.rmtree(tmp_path / "work", ignore_errors=True)


@pytest.fixture
def run_container(root: Path, busybox_root: Path, host: facts.HostFacts) -> Run:
    """run_container("sh", "-c", ..., spec=function of Spec, without=features, extras fields...) -> Outcome."""

    def run(
        *args: str, change: Callable[[Spec], Spec] | None = None, without: str = "", mounts: tuple[Mount, ...] = (), cgroup: bool = False,
        execs: tuple[planning.Plan, ...] = (), limits: bool = False, fds: tuple[int, ...] = (), share: tuple[str, ...] = (), **extras: Any,
    ) -> launching.Outcome:  # fmt: skip
        seen = replace(host, features=facts.without(host.features, without))
        name = f"c{os.getpid()}"
        spec = defaults.default_spec(seen, args, cgroups_path=f"{seen.cgroups.parent}/{name}")
        if not cgroup:
            kept = tuple(mount for mount in spec.mounts if mount.type != "cgroup")
            spec = msgspec.structs.replace(spec, mounts=kept)
        if mounts:
            spec = msgspec.structs.replace(spec, mounts=(*spec.mounts, *mounts))
        if change is not None:
            spec = change(spec)
        layers = planning.RootMount((str(root / "lower"), str(busybox_root)), str(root / "upper"), str(root / "work"))
        options = planning.Extras(root=layers, network=planning.NetworkSetup(), **extras)
        plan = planning.plan(spec, options, seen)
        kinds = tuple(namespace.type for namespace in spec.linux.namespaces if namespace.type not in share)
        writes = planning.limits(spec.linux.resources, seen.cgroups) if limits else []
        return launching.run(
            plan,
            namespaces=kinds,
            cgroup=name if cgroup or limits else "",
            instance=seen.cgroups.parent.removeprefix("pier-"),
            execs=execs,
            fds=fds,
            limits=writes,
        )

    return run


def process(spec: Spec, **fields: Any) -> Spec:
    """`spec` with these fields of its process."""
    return msgspec.structs.replace(spec, process=msgspec.structs.replace(spec.process, **fields))


def linux(spec: Spec, **fields: Any) -> Spec:
    """`spec` with these fields of its `linux` part."""
    return msgspec.structs.replace(spec, linux=msgspec.structs.replace(spec.linux, **fields))
