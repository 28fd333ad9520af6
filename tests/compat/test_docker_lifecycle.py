"""The life of a container through the docker command: create to rm, states, policies, listings, events."""

import json
import time

import pytest

from tests.harness.commands import eventually

from .conftest import Target


def state(docker: Target, name: str) -> str:
    return docker.inspect(name, "{{.State.Status}}")


def test_create_start_wait_logs_rm(docker: Target) -> None:
    name = docker.name()
    created = docker("create", "--name", name, docker.image, "sh", "-c", "echo done; exit 3").ok().line
    assert state(docker, name) == "created"
    assert docker("start", name).ok().line == name
    assert docker("wait", created).ok().line == "3"
    assert docker("logs", name).ok().out == "done\n"
    assert docker("rm", name).ok().line == name
    docker("inspect", "--type", "container", name).fails(1, f"No such container: {name}")


def test_start_attached_gives_output_and_exit_code(docker: Target) -> None:
    name = docker.name()
    docker("create", "--name", name, docker.image, "sh", "-c", "echo out; echo err >&2; exit 7").ok()
    done = docker("start", "-a", name).fails(7)
    assert (done.out, done.err) == ("out\n", "err\n")


def test_start_with_stdin(docker: Target) -> None:
    name = docker.name()
    docker("create", "-i", "--name", name, docker.image, "cat").ok()
    assert docker("start", "-ai", name, stdin=b"through\n").ok().out == "through\n"


def test_start_of_a_running_container_is_no_error(docker: Target) -> None:
    container = docker.background(docker.image, "sleep", "60")
    before = docker.inspect(container, "{{.State.Pid}}")
    docker("start", container).ok()
    assert docker.inspect(container, "{{.State.Pid}}") == before


def test_a_container_starts_again_with_its_files(docker: Target) -> None:
    name = docker.name()
    docker("run", "--name", name, docker.image, "sh", "-c", "echo x >> /file; cat /file").ok()
    assert docker("start", "-a", name).ok().out == "x\nx\n"
    assert docker("logs", name).ok().out == "x\nx\nx\n"


def test_stop_sends_the_signal_and_then_kills(docker: Target) -> None:
    polite = docker.background(docker.image, "sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done")
    docker("stop", polite).ok()
    assert docker.inspect(polite, "{{.State.Status}} {{.State.ExitCode}}") == "exited 9"
    deaf = docker.background(docker.image, "sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
    docker("stop", "-t", "1", deaf).ok()
    assert docker.inspect(deaf, "{{.State.ExitCode}}") == "137"


def test_stop_signal_and_timeout_of_the_container(docker: Target) -> None:
    container = docker.background("--stop-signal", "USR1", "--stop-timeout", "1", docker.image, "sh", "-c", "trap 'exit 5' USR1; while :; do sleep 0.05; done")
    assert docker.inspect(container, "{{.Config.StopSignal}} {{.Config.StopTimeout}}") == "USR1 1"
    docker("stop", container).ok()
    assert docker.inspect(container, "{{.State.ExitCode}}") == "5"


def test_stop_of_a_stopped_container_is_no_error(docker: Target) -> None:
    name = docker.name()
    docker("run", "--name", name, docker.image, "true").ok()
    assert docker("stop", name).ok().line == name


@pytest.mark.parametrize(("signal", "code"), [("KILL", "137"), ("SIGINT", "8"), ("2", "8")])
def test_kill(docker: Target, signal: str, code: str) -> None:
    container = docker.background(docker.image, "sh", "-c", "trap 'exit 8' INT; echo ready; while :; do sleep 0.05; done")
    eventually(lambda: docker("logs", container).out)
    docker("kill", "-s", signal, container).ok()
    assert docker("wait", container).ok().line == code


def test_kill_refuses_what_cannot_be(docker: Target) -> None:
    container = docker("create", docker.image).ok().line
    docker("kill", container).fails(1, f"cannot kill container: {container}: container {container} is not running")
    running = docker.background(docker.image, "sleep", "60")
    docker("kill", "-s", "NOSUCH", running).fails(1, "invalid signal: NOSUCH")


def test_restart(docker: Target) -> None:
    container = docker.background("--stop-timeout", "0", docker.image, "sleep", "60")
    before = docker.inspect(container, "{{.State.StartedAt}} {{.State.Pid}}")
    docker("restart", "-t", "0", container).ok()
    after = docker.inspect(container, "{{.State.StartedAt}} {{.State.Pid}}")
    assert after != before and state(docker, container) == "running"


def test_rename(docker: Target) -> None:
    name, other = docker.name(), docker.name()
    container = docker("create", "--name", name, docker.image).ok().line
    docker("rename", name, other).ok()
    assert docker.inspect(container, "{{.Name}}") == f"/{other}"
    docker("inspect", name).fails(1)
    docker("create", "--name", name, docker.image).ok()
    docker("rename", other, name).fails(1, f'The container name "/{name}" is already in use')


def test_remove(docker: Target) -> None:
    running = docker.background(docker.image, "sleep", "60")
    docker("rm", running).fails(1, "cannot remove container", "container is running: stop the container before removing or force remove")
    docker("rm", "-f", running).ok()
    docker("rm", running).fails(1, f"No such container: {running}")
    docker("rm", "-f", running).ok()


def test_prefixes_of_ids(docker: Target) -> None:
    container = docker("create", docker.image).ok().line
    assert docker.inspect(container[:12], "{{.Id}}") == container
    docker("inspect", "--type", "container", "no-such-prefix").fails(1, "No such container: no-such-prefix")


def test_ps_and_its_filters(docker: Target) -> None:
    label = f"label=pier.test={docker.token}"
    running = docker.background("--name", (name := docker.name()), docker.image, "sleep", "60")
    ended = docker("run", "-d", "--label", "kind=short", docker.image, "sh", "-c", "exit 4").ok().line
    docker("wait", ended).ok()
    created = docker("create", docker.image).ok().line

    def ids(*filters: str, all_: bool = True) -> set[str]:
        words = [w for f in (label, *filters) for w in ("--filter", f)]
        return set(docker("ps", "-q", "--no-trunc", *(["-a"] if all_ else []), *words).ok().out.split())

    assert ids() == {running, ended, created} and ids(all_=False) == {running}
    assert ids("status=exited") == {ended} and ids("status=created") == {created} and ids("status=running") == {running}
    assert ids("exited=4") == {ended} and ids("exited=5") == set()
    assert ids(f"name={name}") == {running} and ids(f"id={created[:12]}") == {created} and ids("label=kind=short") == {ended}
    assert ids(f"ancestor={docker.image}") == {running, ended, created} and ids("network=bridge") == {running, ended, created}
    assert ids(f"before={created}") == {running, ended} and ids(f"since={running}") == {ended, created}
    docker("ps", "--filter", "nonsense=1").fails(1, "invalid filter 'nonsense'")


def test_ps_prints_what_docker_prints(docker: Target) -> None:
    name = docker.name()
    container = docker.background("--name", name, docker.image, "sleep", "60")
    table = docker("ps", "--filter", f"id={container}").ok().out.splitlines()
    assert table[0].split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert table[1].split()[:4] == [container[:12], docker.image, '"sleep', '60"'] and "Up " in table[1] and table[1].endswith(name)
    row = json.loads(docker("ps", "--format", "json", "--filter", f"id={container}").ok().out)
    assert (row["Names"], row["State"], row["Networks"], row["Command"]) == (name, "running", "bridge", '"sleep 60"')
    assert docker("ps", "--format", "{{.ID}} {{.Names}} {{.Label \"pier.test\"}}", "--filter", f"id={container}").ok().line == (
        f"{container[:12]} {name} {docker.token}")


def test_ps_last_and_size(docker: Target) -> None:
    docker("run", docker.image, "sh", "-c", "head -c 100000 /dev/zero > /file").ok()
    listed = docker("ps", "-a", "-s", "--format", "{{.Size}}", "--filter", f"label=pier.test={docker.token}").ok().line
    assert listed.startswith("100kB (virtual ")


def test_inspect_tells_what_was_asked(docker: Target) -> None:
    container = docker("create", "-m", "32m", "--cpus", "0.5", "--cap-add", "NET_ADMIN", "--read-only", "-e", "A=1", "-w", "/tmp", "-u", "alice", "--init",
                       "--restart", "on-failure:3", "--log-opt", "max-size=1m", "--log-driver", "local", docker.image, "echo", "x").ok().line  # fmt: skip
    seen = json.loads(docker("inspect", container).ok().out)[0]
    config, host = seen["Config"], seen["HostConfig"]
    assert (seen["Id"], seen["Path"], seen["Args"], seen["Image"]) == (container, "echo", ["x"], docker.image_id)
    assert (config["Image"], config["WorkingDir"], config["User"], config["Cmd"]) == (docker.image, "/tmp", "alice", ["echo", "x"])
    assert "A=1" in config["Env"] and config["Hostname"] == container[:12]
    assert (host["Memory"], host["NanoCpus"], host["ReadonlyRootfs"], host["Init"]) == (32 << 20, 500_000_000, True, True)
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert host["LogConfig"] == {"Type": "local", "Config": {"max-size": "1m"}} and host["CapAdd"] in (["NET_ADMIN"], ["CAP_NET_ADMIN"])
    assert seen["State"]["StartedAt"] == "0001-01-01T00:00:00Z" and seen["State"]["Pid"] == 0


def test_inspect_of_a_running_container(docker: Target) -> None:
    container = docker.background(docker.image, "sleep", "60")
    seen = json.loads(docker("inspect", container).ok().out)[0]
    network = seen["NetworkSettings"]["Networks"]["bridge"]
    assert network["IPAddress"] == seen["NetworkSettings"]["IPAddress"] and network["IPPrefixLen"] == 16 and network["Gateway"] and network["MacAddress"]
    assert seen["State"]["Running"] is True and seen["State"]["Pid"] > 1


def test_top(docker: Target) -> None:
    container = docker.background(docker.image, "sleep", "61")
    rows = docker("top", container).ok().out.splitlines()
    assert rows[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"] and rows[1].endswith("sleep 61")
    rows = docker("top", container, "-o", "pid,args").ok().out.splitlines()
    assert rows[0].split() == ["PID", "COMMAND"] and rows[1].split()[1:] == ["sleep", "61"]
    another = docker.background("--user", "1000", docker.image, "sleep", "62")  # nobody that a bare ps of the daemon's would show
    rows = docker("top", another, "-o", "pid,args").ok().out.splitlines()
    assert len(rows) == 2 and rows[1].split()[1:] == ["sleep", "62"]
    docker("top", docker("create", docker.image).ok().line).fails(1, "is not running")


def test_wait_for_several(docker: Target) -> None:
    first = docker.background(docker.image, "sh", "-c", "sleep 0.3; exit 1")
    second = docker.background(docker.image, "sh", "-c", "exit 2")
    assert docker("wait", first, second).ok().out == "1\n2\n"


def test_restart_on_failure_counts_and_gives_up(docker: Target) -> None:
    container = docker.background("--restart", "on-failure:2", docker.image, "sh", "-c", "echo run; exit 1")
    eventually(lambda: docker.inspect(container, "{{.State.Status}} {{.RestartCount}}") == "exited 2")
    assert docker("logs", container).ok().out == "run\n" * 3


def test_restart_always_until_stopped(docker: Target) -> None:
    container = docker.background("--restart", "always", docker.image, "sh", "-c", "echo run; sleep 0.1")
    eventually(lambda: docker("logs", container).ok().out.count("run") >= 3)
    docker("stop", "-t", "0", container).ok()
    assert state(docker, container) == "exited"
    count = docker("logs", container).ok().out.count("run")
    time.sleep(1)
    assert docker("logs", container).ok().out.count("run") == count


def test_restart_on_failure_leaves_success_alone(docker: Target) -> None:
    container = docker.background("--restart", "on-failure", docker.image, "true")
    docker("wait", container).ok()
    assert docker.inspect(container, "{{.RestartCount}} {{.State.Status}}") == "0 exited"


def test_container_prune(docker: Target) -> None:
    ended = docker("run", "-d", "--label", f"prune={docker.token}", docker.image, "true").ok().line
    docker("wait", ended).ok()
    running = docker.background("--label", f"prune={docker.token}", docker.image, "sleep", "60")
    out = docker("container", "prune", "-f", "--filter", f"label=prune={docker.token}").ok().out
    assert ended in out and running not in out and "Total reclaimed space" in out
    docker("inspect", ended).fails(1)


def test_system_prune(docker: Target) -> None:
    ended = docker("run", "-d", "--label", f"prune={docker.token}", docker.image, "true").ok().line
    docker("wait", ended).ok()
    network = docker("network", "create", "--label", f"prune={docker.token}", docker.name()).ok().line
    name = docker("network", "inspect", "-f", "{{.Name}}", network).ok().line
    out = docker("system", "prune", "-f", "--filter", f"label=prune={docker.token}").ok().out
    assert f"Deleted Containers:\n{ended}\n\nDeleted Networks:\n{name}\n\n" in out and "Total reclaimed space: " in out
    docker("inspect", ended).fails(1)


def test_events_of_a_life(docker: Target) -> None:
    since = str(int(time.time()))
    name = docker.name()
    docker("run", "--name", name, docker.image, "true").ok()
    docker("rm", name).ok()
    words = ("events", "--since", since, "--until", str(int(time.time()) + 1), "--filter", f"container={name}")
    assert docker(*words, "--format", "{{.Action}}").ok().out.split() == ["create", "attach", "start", "die", "destroy"]
    died = json.loads(docker(*words, "--filter", "event=die", "--format", "json").ok().out)
    assert died["Actor"]["Attributes"]["exitCode"] == "0" and died["Actor"]["Attributes"]["name"] == name and died["Type"] == "container"


def test_version_and_info(docker: Target) -> None:
    versions = json.loads(docker("version", "--format", "json").ok().out)
    assert versions["Server"]["ApiVersion"] == "1.51" and versions["Server"]["MinAPIVersion"] == "1.24" and versions["Server"]["Os"] == "linux"
    info = json.loads(docker("info", "--format", "json").ok().out)
    assert info["OSType"] == "linux" and info["NCPU"] >= 1 and info["MemTotal"] > 0 and not info.get("ServerErrors")


def test_an_older_client_is_answered_in_its_version(docker: Target) -> None:
    docker.env["DOCKER_API_VERSION"] = "1.30"
    try:
        assert docker("version", "--format", "{{.Client.APIVersion}}").ok().line == "1.30"
        assert docker("run", "--rm", docker.image, "echo", "old").ok().line == "old"
        docker.env["DOCKER_API_VERSION"] = "1.10"
        docker("ps").fails(1, "client version 1.10 is too old. Minimum supported API version is 1.24")
    finally:
        del docker.env["DOCKER_API_VERSION"]
