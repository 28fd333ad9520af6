"""pause, unpause and update through the docker command and docker-py."""

from typing import Any

import pytest

from tests.harness.commands import eventually

from .conftest import Target


def test_pause_and_unpause(docker: Target, image: str) -> None:
    name = docker.background(image, "sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.1; done")
    docker("pause", name).ok()
    assert docker.inspect(name, "{{.State.Status}} {{.State.Running}} {{.State.Paused}}") == "paused true true"
    assert docker("ps", "--filter", f"id={name}", "--format", "{{.State}} {{.Status}}").ok().line.endswith("(Paused)")
    for words, text in (
        (("pause", name), f"Container {name} is already paused"),
        (("exec", name, "true"), f"Container {name} is paused, unpause the container before exec"),
        (("start", name), "cannot start a paused container, try unpause instead"),
        (("rm", name), f'cannot remove container "{name}": container is paused and must be unpaused first'),
        (("attach", name), "You cannot attach to a paused container, unpause it first"),
    ):
        docker(*words).fails(1, text)
    docker("unpause", name).ok()
    docker("unpause", name).fails(1, f"Container {name} is not paused")
    docker("exec", name, "true").ok()
    docker("pause", name).ok()
    docker("kill", "--signal", "WINCH", name).ok()
    assert docker.inspect(name, "{{.State.Status}}") == "running"
    docker("pause", name).ok()
    docker("restart", "-t", "5", name).ok()
    assert docker.inspect(name, "{{.State.Status}}") == "running"
    docker("pause", name).ok()
    docker("stop", name).ok()
    assert docker.inspect(name, "{{.State.Status}} {{.State.ExitCode}}") == "exited 4"
    docker("pause", name).fails(1, f"container {name} is not running")


def test_health_of_a_paused_container(docker: Target, image: str) -> None:
    name = docker.background("--health-cmd", "true", "--health-interval", "200ms", image, "sleep", "60")
    eventually(lambda: docker.inspect(name, "{{.State.Health.Status}}") == "healthy", says="it is healthy")
    docker("pause", name).ok()
    assert docker.inspect(name, "{{.State.Health.Status}}") == "unhealthy"
    docker("unpause", name).ok()
    eventually(lambda: docker.inspect(name, "{{.State.Health.Status}}") == "healthy", says="it is healthy again")


def test_update(docker: Target, image: str) -> None:
    name = docker.background(image, "sleep", "60")
    refused = f"Cannot update container {name}: "
    docker("update", "--memory", "64m", name).fails(1, refused + "Memory limit should be smaller than already set memoryswap limit")
    limits = ("--memory", "64m", "--memory-swap", "128m", "--cpus", "0.5", "--cpu-shares", "512", "--pids-limit", "77", "--cpuset-cpus", "0")
    docker("update", *limits, name).ok()
    shown = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} {{.HostConfig.CpuShares}} {{.HostConfig.PidsLimit}}"
    assert docker.inspect(name, shown) == f"{64 << 20} {128 << 20} 500000000 512 77"
    for words, text in (
        (("--memory", "1m"), "Minimum memory limit allowed is 6MB"),
        (("--cpu-period", "5"), "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
        (("--restart", "sometimes"), "invalid restart policy: unknown policy 'sometimes'"),
        (("--cpu-quota", "50000"), refused + "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"),
        ((), "you must provide one or more flags when using this command"),
    ):
        docker("update", *words, name).fails(1, text)
    docker("update", "--restart", "on-failure:3", name).ok()
    assert docker.inspect(name, "{{json .HostConfig.RestartPolicy}}") == '{"Name":"on-failure","MaximumRetryCount":3}'
    gone = docker.background("--rm", image, "sleep", "60")
    docker("update", "--restart", "always", gone).fails(1, "Restart policy cannot be updated because AutoRemove is enabled for the container")


def test_docker_py(docker: Target, client: Any) -> None:
    import docker as docker_py

    made = client.containers.run(docker.image, ["sleep", "60"], detach=True, labels={"pier.test": docker.token})
    made.pause()
    made.reload()
    assert made.status == "paused"
    with pytest.raises(docker_py.errors.APIError) as told:
        made.pause()
    assert told.value.status_code == 409
    made.unpause()
    with pytest.raises(docker_py.errors.APIError) as told:
        made.unpause()
    assert told.value.status_code == 500
    assert made.update(cpu_shares=512, restart_policy={"Name": "always"}) == {"Warnings": None}
    with pytest.raises(docker_py.errors.APIError) as told:
        made.update(mem_limit="256m")
    assert told.value.status_code == 409
    made.reload()
    assert made.attrs["HostConfig"]["CpuShares"] == 512
