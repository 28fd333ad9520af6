"""stats through the docker command and docker-py."""

import re
from typing import Any

from .conftest import Target

BUSY = ["sh", "-c", "while :; do :; done"]


def test_a_table_of_one_look(docker: Target, image: str) -> None:
    busy = docker.background("-m", "64m", "--pids-limit", "50", image, *BUSY)
    still = docker.background("--network", "none", image, "sleep", "60")
    stopped = docker("create", image, "true").ok().line
    lines = docker("stats", "--no-stream", "--no-trunc", "--format", "{{.ID}}|{{.CPUPerc}}|{{.MemUsage}}|{{.NetIO}}|{{.BlockIO}}|{{.PIDs}}",
                   busy, still, stopped).ok().out.splitlines()  # fmt: skip
    rows = {fields[0]: fields[1:] for fields in (line.split("|") for line in lines)}
    cpu, memory, network, disk, pids = rows[busy]
    busy_percent = float(cpu.rstrip("%"))
    assert memory.endswith(" / 64MiB") and pids == "1"
    assert re.fullmatch(r"[\d.]+[kM]?B / [\d.]+[kM]?B", network) and re.fullmatch(r"[\d.]+[kM]?B / [\d.]+[kM]?B", disk)
    cpu, memory, network, _, pids = rows[still]
    assert float(cpu.rstrip("%")) < busy_percent and network == "0B / 0B" and pids == "1"
    assert rows[stopped] == ["0.00%", "0B / 0B", "0B / 0B", "0B / 0B", "0"]
    by_name = docker.name()
    docker("rename", still, by_name).ok()
    assert docker("stats", "--no-stream", "--format", "{{.Container}}", by_name).ok().line == by_name
    assert still in docker("stats", "--no-stream", "--format", "{{.Container}}").ok().out.splitlines()
    docker("stats", "--no-stream", "nope").fails(1, "No such container: nope")


def test_samples(docker: Target, client: Any) -> None:
    made = client.containers.run(docker.image, BUSY, detach=True, labels={"pier.test": docker.token}, mem_limit="64m")
    samples = made.stats(decode=True, stream=True)
    first, second = next(samples), next(samples)
    samples.close()
    assert (first["name"], first["id"]) == (f"/{made.name}", made.id)
    assert second["precpu_stats"] == first["cpu_stats"] and second["preread"] == first["read"]
    assert second["cpu_stats"]["cpu_usage"]["total_usage"] > first["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert second["memory_stats"]["limit"] == 64 << 20 and second["memory_stats"]["usage"] > 0 and second["pids_stats"]["current"] == 1
    assert set(second["networks"]["eth0"]) == {f"{way}_{what}" for way in ("rx", "tx") for what in ("bytes", "packets", "errors", "dropped")}
    shot = client.api.stats(made.id, stream=False, one_shot=True)
    assert shot["preread"].startswith("0001-") and "system_cpu_usage" not in shot["precpu_stats"] and "name" not in shot
    both = client.api.stats(made.id, stream=False)
    assert both["precpu_stats"]["system_cpu_usage"] < both["cpu_stats"]["system_cpu_usage"] and both["name"] == f"/{made.name}"
    made.kill()
    made.wait()
    empty = client.api.stats(made.id, stream=False)
    assert empty["memory_stats"] == {} and empty["pids_stats"] == {} and empty["read"].startswith("0001-")
