"""What flows: terminals, attach and detach, exec, logs."""

import re
import subprocess
import time

import pytest

from tests.harness.commands import eventually

from .conftest import Target

COUNTER = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done"


def test_run_it_is_a_terminal(docker: Target) -> None:
    with docker.terminal("run", "-it", "--rm", docker.image, "sh", rows=33, cols=101) as terminal:
        terminal.expect("# ")
        assert terminal.raw()
        terminal.type("tty; echo $TERM; stty size\r")
        shown = terminal.expect("33 101")
        assert "/dev/pts/0" in shown and "xterm" in shown
        terminal.type("exit 17\r")
        assert terminal.wait() == 17
        assert not terminal.raw()


def test_window_size_follows(docker: Target) -> None:
    with docker.terminal("run", "-it", "--rm", docker.image, "sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done") as terminal:
        terminal.expect("ready")
        rows = iter(range(30, 1000))  # the client may not listen yet: another size each time
        eventually(lambda: (terminal.resize(next(rows), 132), terminal.read(0.3), b" 132" in terminal.seen)[-1])
        terminal.type("\x03")
        assert terminal.wait() == 130


def test_interrupt_key_reaches_the_program(docker: Target) -> None:
    with docker.terminal("run", "-it", "--rm", docker.image, "sh", "-c", "trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.05; done") as terminal:
        terminal.expect("ready")
        terminal.type("\x03")
        terminal.expect("caught")
        assert terminal.wait() == 4


def test_detach_keys_leave_the_container_running(docker: Target) -> None:
    name = docker.name()
    with docker.terminal("run", "-it", "--name", name, docker.image, "sh") as terminal:
        terminal.expect("# ")
        terminal.type("echo one two | tr ' ' _\r")
        terminal.expect("one_two")
        terminal.type("\x10\x11")
        assert terminal.wait() == 0
        assert not terminal.raw()
    assert docker.inspect(name, "{{.State.Running}}") == "true"
    with docker.terminal("attach", name) as terminal:
        terminal.type("echo three four | tr ' ' _\r")
        terminal.expect("three_four")
        terminal.type("exit 3\r")
        assert terminal.wait() == 3


def test_without_a_terminal_the_detach_keys_are_bytes_like_others(docker: Target) -> None:
    data = b"a\x10\x11b" * 3
    assert docker("run", "--rm", "-i", docker.image, "cat", stdin=data).ok().out.encode() == data
    container = docker.background(docker.image, "sleep", "60")
    assert docker("exec", "-i", container, "cat", stdin=data).ok().out.encode() == data


def test_detach_keys_of_ones_own(docker: Target) -> None:
    with docker.terminal("run", "-it", "--name", (name := docker.name()), "--detach-keys", "ctrl-x,q", docker.image, "sh") as terminal:
        terminal.expect("# ")
        terminal.type("\x18q")
        assert terminal.wait() == 0
    assert docker.inspect(name, "{{.State.Running}}") == "true"


def test_t_without_a_terminal_is_refused(docker: Target) -> None:
    docker("run", "--rm", "-it", docker.image, "true").fails(1, "the input device is not a TTY")


def test_terminal_output_of_a_detached_container(docker: Target) -> None:
    container = docker.background("-t", docker.image, "sh", "-c", "echo out; echo err >&2; tty")
    docker("wait", container).ok()
    assert docker("logs", container).ok().out == "out\r\nerr\r\n/dev/pts/0\r\n"


def test_signals_are_passed_on(docker: Target) -> None:
    argv = docker.argv("run", "--rm", docker.image, "sh", "-c", "trap 'exit 6' TERM; echo ready; while :; do sleep 0.05; done")
    with subprocess.Popen(argv, env=docker.env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout and process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.wait(30) == 6


def test_attach_sees_output_and_ends_with_the_exit_code(docker: Target) -> None:
    container = docker.background("-i", docker.image, "sh", "-c", "read x; echo got $x; exit 5")
    with subprocess.Popen(docker.argv("attach", container), env=docker.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdin.write(b"word\n")
        process.stdin.flush()  # and stays open: with StdinOnce off, Docker ends the output with the client's input
        assert process.stdout.read() == b"got word\n" and process.wait(30) == 5


def test_several_clients_see_the_same(docker: Target) -> None:
    container = docker.background("-i", docker.image, "sh", "-c", "read x; seq 1 5000; read y; echo end")
    watchers = [subprocess.Popen(docker.argv("attach", "--no-stdin", container), env=docker.env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) for _ in range(3)]
    time.sleep(0.5)  # nothing tells when an attach was registered
    docker("attach", container, stdin=b"go\nend\n").ok()
    outputs = [w.communicate(timeout=30)[0].decode() for w in watchers]
    assert all(o == "".join(f"{i}\n" for i in range(1, 5001)) + "end\n" for o in outputs)


def test_attach_needs_a_running_container(docker: Target) -> None:
    container = docker("create", docker.image).ok().line
    docker("attach", container).fails(1, "cannot attach to a stopped container, start it first")


def test_much_output_is_complete(docker: Target) -> None:
    out = docker("run", "--rm", docker.image, "sh", "-c", "yes 0123456789abcde | head -c 20000000").ok().out
    assert len(out) == 20_000_000 and out == ("0123456789abcde\n" * 1_250_000)


def test_output_after_the_last_newline(docker: Target) -> None:
    assert docker("run", "--rm", docker.image, "printf", "no newline").ok().out == "no newline"


def test_exec(docker: Target) -> None:
    container = docker.background("-e", "A=1", "-w", "/tmp", docker.image, "sleep", "60")
    done = docker("exec", container, "sh", "-c", "echo out $A $B $PWD; echo err >&2; exit 9").fails(9)
    assert (done.out, done.err) == ("out 1 /tmp\n", "err\n")
    assert docker("exec", "-e", "B=2", "-w", "/root", "-u", "alice", container, "sh", "-c", "echo $A $B $PWD $(id -un)").ok().line == "1 2 /root alice"
    assert docker("exec", "-i", container, "tr", "a-z", "A-Z", stdin=b"loud\n").ok().out == "LOUD\n"


def test_exec_shares_namespaces_and_hardening(docker: Target) -> None:
    container = docker.background(docker.image, "sleep", "60")
    out = docker("exec", container, "sh", "-c", "grep -E '^(CapEff|Seccomp):' /proc/self/status; hostname; cat /proc/1/cmdline | tr '\\0' ' '").ok().out.split()
    assert out == ["CapEff:", "00000000a80425fb", "Seccomp:", "2", container[:12], "sleep", "60"]
    assert int(docker("exec", "--privileged", container, "grep", "CapEff", "/proc/self/status").ok().out.split()[1], 16) >= (1 << 38) - 1


@pytest.mark.parametrize(("command", "code", "text"), [
    ("nope", 127, 'exec: "nope": executable file not found in $PATH'),
    ("/etc/not-a-program", 126, 'exec: "/etc/not-a-program": permission denied'),
    ("/etc", 126, 'exec: "/etc": is a directory'),
])  # fmt: skip
def test_exec_of_what_cannot_run(docker: Target, command: str, code: int, text: str) -> None:
    container = docker.background(docker.image, "sleep", "60")
    docker("exec", container, command).fails(code, text)


def test_exec_needs_a_running_container(docker: Target) -> None:
    container = docker("create", docker.image).ok().line
    docker("exec", container, "true").fails(1, f"container {container} is not running")


def test_exec_it(docker: Target) -> None:
    container = docker.background(docker.image, "sleep", "60")
    with docker.terminal("exec", "-it", container, "sh", rows=20, cols=90) as terminal:
        terminal.expect("# ")
        terminal.type("stty size; tty\r")
        assert "/dev/pts/" in terminal.expect("20 90") + terminal.expect("/dev/pts/")
        terminal.resize(21, 91)
        eventually(lambda: (terminal.type("stty size\r"), time.sleep(0.2), terminal.read(0.2), b"21 91" in terminal.seen)[-1])
        terminal.type("exit 11\r")
        assert terminal.wait() == 11


def test_exec_detached(docker: Target) -> None:
    container = docker.background(docker.image, "sleep", "60")
    docker("exec", "-d", container, "sh", "-c", "sleep 0.2; echo x > /made").ok()
    eventually(lambda: docker("exec", container, "cat", "/made").code == 0)


def test_an_exec_ends_with_its_container(docker: Target) -> None:
    container = docker.background(docker.image, "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done")
    with subprocess.Popen(docker.argv("exec", container, "sleep", "60"), env=docker.env, stdin=subprocess.DEVNULL) as process:
        eventually(lambda: "sleep 60" in docker("top", container).ok().out)
        docker("stop", container).ok()
        assert process.wait(30) == 137


def test_logs_tail_since_until_timestamps(docker: Target) -> None:
    container = docker.background(docker.image, "sh", "-c", "echo a; sleep 1.2; echo b >&2; sleep 0.3; echo c")
    docker("wait", container).ok()
    done = docker("logs", container).ok()
    assert (done.out, done.err) == ("a\nc\n", "b\n")
    assert docker("logs", "-n", "1", container).ok().out == "c\n" and docker("logs", "-n", "0", container).ok().out == ""
    stamped = docker("logs", "-t", container).ok().out.splitlines()
    stamps = [line.split(" ")[0] for line in stamped]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", s) for s in stamps)
    assert docker("logs", "--since", stamps[1], container).ok().out == "c\n"
    assert docker("logs", "--until", stamps[0][:19] + ".999999999Z", container).ok().out in ("a\n",)
    assert docker("logs", "--details", "-n", "1", container).ok().out == " c\n"
    docker("logs", "--since", "never", container).fails(1, "invalid value for")


def test_logs_follow_to_the_end(docker: Target) -> None:
    container = docker.background(docker.image, "sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done")
    assert docker("logs", "-f", container).ok().out == "1\n2\n3\n4\n5\n"


def test_logs_follow_over_a_restart(docker: Target) -> None:
    container = docker.background(docker.image, "sh", "-c", COUNTER)
    with subprocess.Popen(docker.argv("logs", "-f", container), env=docker.env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout and process.stdout.readline() == b"line 1\n"
        docker("stop", "-t", "0", container).ok()
        assert process.wait(30) == 0


@pytest.mark.parametrize("driver", ["local", "json-file"])
def test_logs_of_each_driver_rotate(docker: Target, driver: str) -> None:
    container = docker.background("--log-driver", driver, "--log-opt", "max-size=20k", "--log-opt", "max-file=2", docker.image, "seq", "1", "20000")
    docker("wait", container).ok()
    lines = docker("logs", container).ok().out.split()
    assert lines[-1] == "20000" and 0 < len(lines) < 20000
    assert lines == [str(n) for n in range(20001 - len(lines), 20001)]


def test_logs_of_nothing(docker: Target) -> None:
    docker("logs", "pt-nothing").fails(1, "No such container: pt-nothing")
    assert docker("logs", docker("create", docker.image).ok().line).ok().out == ""


def test_a_long_line_comes_back_whole(docker: Target) -> None:
    container = docker.background(docker.image, "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end")
    docker("wait", container).ok()
    assert docker("logs", container).ok().out == "x" * 100000 + "\nend\n"
