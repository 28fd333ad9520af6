"""What newcomers stumbled over in their first hours, each driven as they did: by the command line."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.harness.commands import Done, eventually
from tests.harness.engine import Engine, program


def refused(done: Done, code: int, text: str) -> None:
    assert done.code == code and text in done.err and "Traceback" not in done.err, done


def test_an_image_with_a_name_is_listed_though_another_was_made_of_it(engine: Engine) -> None:
    engine.pier("create", "--name", "parent", "busybox", "true").ok()
    engine.pier("commit", "parent", "first-child").ok()
    assert {"busybox:latest", "first-child:latest"} <= set(engine.pier("images", "--format", "{{.Repository}}:{{.Tag}}").ok().out.split())
    assert engine.pier("images", "-q", "busybox").ok().out
    engine.pier("rm", "parent").ok()
    engine.pier("rmi", "first-child").ok()


def test_one_volume_at_two_places(engine: Engine) -> None:
    script = "echo written > /b/file; cat /a/file; touch /a/other"
    done = engine.pier("run", "--rm", "-v", "twice:/a:ro", "-v", "twice:/b", "busybox", "sh", "-c", script)
    assert (done.code, done.out) == (1, "written\n") and "Read-only file system" in done.err
    # two that fill the same two volumes, in the other order each, at the same time
    for attempt in range(3):
        one, two = f"one{attempt}", f"two{attempt}"
        mounts = (("-v", f"{one}:/etc", "-v", f"{two}:/bin"), ("-v", f"{two}:/bin", "-v", f"{one}:/etc"))
        argv = [[*program("pier", "pier.cli.main"), "run", "--rm", *words, "busybox", "/bin/true"] for words in mounts]
        running = [subprocess.Popen(each, env=engine.client_env) for each in argv]
        assert [process.wait(60) for process in running] == [0, 0]
        engine.pier("volume", "rm", one, two).ok()
    engine.pier("volume", "rm", "twice").ok()


def test_a_cidfile_that_cannot_be_written_makes_no_container(engine: Engine, tmp_path: Path) -> None:
    before = engine.containers()
    text = "failed to create the container ID file: open /no/such/place/x: no such file or directory"
    refused(engine.pier("run", "--cidfile", "/no/such/place/x", "busybox", "true"), 125, text)
    refused(engine.pier("create", "--cidfile", str(tmp_path / "id"), "--pull", "never", "no-such-image-here"), 1, "o such image")
    assert engine.containers() == before and not (tmp_path / "id").exists()
    refused(engine.pier("run", "--cidfile", str(tmp_path), "busybox", "true"), 125, "container ID file found")
    engine.pier("run", "--rm", "--cidfile", str(tmp_path / "id"), "busybox", "true").ok()
    assert len((tmp_path / "id").read_text()) == 64


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--subnet", "10.1.0.0/33"], "invalid CIDR address: 10.1.0.0/33"),
        (["--subnet", "foo"], "invalid CIDR address: foo"),
        (["--gateway", "10.1.0.1"], "every ip-range or gateway must have a corresponding subnet"),
        (["--subnet", "10.1.0.0/24", "--gateway", "10.2.0.1"], "no matching subnet for gateway 10.2.0.1"),
        (["--subnet", "10.1.0.0/24", "--ip-range", "10.3.0.0/25"], "no matching subnet for range 10.3.0.0/25"),
    ],
)
def test_a_network_that_cannot_be(engine: Engine, words: list[str], text: str) -> None:
    refused(engine.pier("network", "create", *words, "cannot-be"), 1, text)


def test_log_options_that_cannot_be_leave_no_container(engine: Engine) -> None:
    refused(engine.pier("run", "-d", "--name", "lh", "--log-opt", "bogus=1", "busybox", "true"), 125, "unknown log opt 'bogus' for local log driver")
    assert engine.api("GET", "/containers/lh/json").status == 404


def test_the_folder_to_work_in_may_be_roots(engine: Engine) -> None:
    done = engine.pier("run", "--rm", "-u", "1000", "-w", "/root/closed", "busybox", "sh", "-c", "pwd; id -u; ls")
    assert done.ok().out == "/root/closed\n1000\n"
    made = engine.pier("run", "-d", "--rm", "busybox", "sh", "-c", "mkdir -m 700 /shut; echo there; sleep 60").ok().line
    eventually(lambda: engine.pier("logs", made).out == "there\n", says="the folder is there")
    assert engine.pier("exec", "-u", "1000", "-w", "/shut", made, "sh", "-c", "pwd; ls").out == "/shut\n"
    engine.pier("rm", "-f", made).ok()


def test_what_says_that_this_is_a_container(engine: Engine) -> None:
    made = engine.pier("run", "-d", "busybox", "sleep", "60").ok().line
    assert engine.pier("exec", made, "stat", "-c", "%F %a %s", "/.dockerenv").ok().out == "regular empty file 644 0\n"
    assert engine.pier("diff", made).ok().out == ""
    engine.pier("rm", "-f", made).ok()


def test_the_third_interrupt_ends_the_client(engine: Engine) -> None:
    argv = [*program("pier", "pier.cli.main"), "run", "--name", "deaf", "busybox", "sh", "-c", "trap '' INT; echo there; sleep 60"]
    with subprocess.Popen(argv, env=engine.client_env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr and process.stdout.readline() == "there\n"
        signals = engine.pier("events", "--since", "1", "--until", "0s", "--filter", "event=kill", "--format", "{{.ID}}")
        assert signals.code == 0
        for count in range(1, 4):
            process.send_signal(signal.SIGINT)
            if count < 3:
                eventually(lambda count=count: kills(engine) == count, says=f"signal {count} is passed on")  # type: ignore[misc]
        assert process.wait(20) == 1
        assert "got 3 SIGTERM/SIGINTs, forcefully exiting" in process.stderr.read()
    engine.pier("rm", "-f", "deaf").ok()


def kills(engine: Engine) -> int:
    """How many signals the container `deaf` was sent."""
    now = engine.pier("events", "--since", "10m", "--until", "0s", "--filter", "container=deaf", "--filter", "event=kill").ok()
    return len(now.out.splitlines())


def test_a_daemon_that_is_killed_under_a_run_and_an_exec(fresh_engine: Engine) -> None:
    engine = fresh_engine
    made = engine.pier("run", "-d", "busybox", "sleep", "600").ok().line
    pier, script = program("pier", "pier.cli.main"), ["sh", "-c", "echo there; sleep 600 & trap 'exit 7' USR1; wait"]
    waits = ["sh", "-c", "mkfifo /told; echo there; read told < /told"]
    commands = (["run", "--rm", "--name", "gone", "busybox", *script], ["run", "--name", "kept", "busybox", *script], ["exec", made, *waits])
    pipe = subprocess.PIPE
    running = [subprocess.Popen([*pier, *words], env=engine.client_env, stdout=pipe, stderr=pipe, text=True) for words in commands]
    for process in running:
        assert process.stdout and process.stdout.readline() == "there\n"
    engine.kill("daemon")
    engine.start()
    for name in ("gone", "kept"):
        engine.pier("kill", "-s", "USR1", name).ok()
    engine.pier("exec", made, "sh", "-c", "echo > /told").ok()
    said = [process.communicate(timeout=30)[1] for process in running]
    assert [process.returncode for process in running[1:]] == [7, 125], said
    # the next daemon knows the status of one that is to be removed until it has done so
    assert running[0].returncode == 7 or (running[0].returncode == 125 and "error waiting for container" in said[0]), said
    assert "exit status is not known" in said[2]


def test_system_prune(engine: Engine) -> None:
    engine.pier("create", "--name", "stopped", "busybox", "true").ok()
    engine.pier("network", "create", "unused").ok()
    assert engine.pier("system", "prune", stdin=b"n\n").out.endswith("Are you sure you want to continue? [y/N] ")
    refused(engine.pier("system", "prune", "--volumes", "--filter", "until=1h"), 1, 'The "until" filter is not supported with "--volumes"')
    assert engine.api("GET", "/containers/stopped/json").status == 200
    out = engine.pier("system", "prune", "-f").ok().out
    assert "Deleted Containers:\n" in out and "Deleted Networks:\nunused\n" in out and "Total reclaimed space: " in out
    assert engine.api("POST", "/build/prune").ok().json == {"CachesDeleted": None, "SpaceReclaimed": 0}


def test_ipv6_without_a_subnet_of_ones_own(engine: Engine) -> None:
    subnets = []
    for name in ("six", "seven"):
        engine.pier("network", "create", "--ipv6", name).ok()
        subnets += [each["Subnet"] for each in engine.api.get(f"/networks/{name}")["IPAM"]["Config"] if ":" in each["Subnet"]]
    shown = engine.pier("run", "--rm", "--network", "seven", "busybox", "ip", "-6", "-o", "addr", "show", "eth0", "scope", "global").ok().out
    engine.pier("network", "rm", "six", "seven").ok()
    assert len(set(subnets)) == 2 and all(subnet.startswith("fd") and subnet.endswith("/64") for subnet in subnets)
    assert subnets[0][:14] == subnets[1][:14] and subnets[1].removesuffix("/64") in shown


def test_texts(engine: Engine) -> None:
    refused(engine.pier("load", "-i", "/etc/passwd"), 1, "this is no tar archive")
    refused(engine.pier("volume", "foo"), 1, "Usage:  pier volume COMMAND")
    engine.pier("volume", "create", "shot").ok()
    refused(engine.pier("volume", "snapshot", "shot", "s"), 1, "snapshot name is too short")
    engine.pier("volume", "rm", "shot").ok()
    assert "WARNING: Localhost DNS (127.0.0.9) may fail" in engine.pier("run", "--rm", "--dns", "127.0.0.9", "busybox", "true").ok().err
    done = engine.pier("run", "--rm", "--init", "--pid", "host", "busybox", "true")
    assert (done.code, done.err) == (0, "")


def test_a_command_line_whose_output_nobody_reads(engine: Engine) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*program("pier", "pier.cli.main"), "images"], env=engine.client_env, stdout=write, stderr=subprocess.PIPE, timeout=20)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_the_daemons_table_of_descriptors_is_long_before_it_has_threads(engine: Engine) -> None:
    """Growing it later stops the loop: the kernel waits for an RCU grace period where threads share the table."""
    with open(f"/proc/{engine.pid}/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    with open(f"/proc/{engine.pid}/limits") as file:
        most = int(next(line for line in file if line.startswith("Max open files")).split()[3])
    assert int(fields["FDSize"]) >= min(16_384, most)


def test_who_reads_the_head_of_an_answer_late_loses_no_output(engine: Engine) -> None:
    """docker-py reads the head by a buffer of its own and what follows from the socket: what came with the head was lost on a busy machine."""
    container = engine.pier("run", "-d", "--init", "busybox", "sh", "-c", "echo logged; sleep 60").ok().line
    eventually(lambda: engine.pier("logs", container).ok().out == "logged\n")
    made = engine.api("POST", f"/containers/{container}/exec", {"AttachStdout": True, "Cmd": ["echo", "said"]}).ok(201).json["Id"]
    failing = engine.api("POST", f"/containers/{container}/exec", {"AttachStdout": True, "Cmd": ["nope"]}).ok(201).json["Id"]
    asked: list[tuple[str, dict[str, bool], bytes]] = [
        (f"/exec/{made}/start", {}, b"said\n"),
        (f"/exec/{failing}/start", {}, b"executable file not found in $PATH"),
        (f"/containers/{container}/attach", {"logs": True, "stdout": True}, b"logged\n"),
    ]
    for route, query, wanted in asked:
        sock, behind = engine.api.hijack(route, {}, late_s=0.3, **query)
        with sock:
            assert behind == b"", f"{route}: what came with the head"
            assert wanted in b"".join(iter(lambda: sock.recv(4096), b"")), route  # noqa: B023 - called at once
    engine.pier("rm", "-f", container).ok()
