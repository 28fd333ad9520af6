"""Who runs, where, on what streams; and what is said when it does not run."""

import stat
import struct
from pathlib import Path

import msgspec
import pytest

from pier.oci.runtime_spec import Process, Spec
from pier.runtime import defaults, facts
from pier.runtime import plan as planning
from tests.engine.runtime.conftest import Run, process

PATH = f"PATH={defaults.PATH}"


@pytest.mark.parametrize(
    ("user", "groups", "expected"),
    [
        ("", (), "uid=0(root) gid=0(root) groups=0(root)"),
        ("www-data", (), "uid=33(www-data) gid=33(www-data) groups=33(www-data)"),
        ("www-data:adm", (), "uid=33(www-data) gid=4(adm) groups=4(adm)"),
        ("alice", (), "uid=1000(alice) gid=1000(alice) groups=4(adm),1000(alice)"),
        ("alice", ("www-data", "77"), "uid=1000(alice) gid=1000(alice) groups=4(adm),33(www-data),77,1000(alice)"),
        ("1234", (), "uid=1234 gid=0(root) groups=0(root)"),
        ("1234:5678", (), "uid=1234 gid=5678 groups=5678"),
        ("1000:5678", (), "uid=1000(alice) gid=5678 groups=5678"),
    ],
)
def test_users_mean_what_the_containers_files_say(run_container: Run, user: str, groups: tuple[str, ...], expected: str) -> None:
    def ids(text: str) -> tuple[str, str, set[str]]:
        uid, gid, *rest = text.split()
        return uid, gid, set(rest[0].removeprefix("groups=").split(",")) if rest else {gid.removeprefix("gid=")}

    found, wanted = ids(run_container("id", user=user, groups=groups).output), ids(expected)
    assert found[:2] == wanted[:2]
    assert found[2] - {wanted[1].removeprefix("gid=")} == wanted[2] - {wanted[1].removeprefix("gid=")}


@pytest.mark.parametrize(
    ("user", "groups", "message"),
    [
        ("nobody-here", (), "unable to find user nobody-here: no matching entries in passwd file"),
        ("root:nope", (), "unable to find group nope: no matching entries in group file"),
        ("", ("nope",), "unable to find group nope: no matching entries in group file"),
        ("4294967296", (), "uids and gids must be in range 0-2147483647"),
    ],
)
def test_an_unknown_user_is_refused_in_dockers_words(run_container: Run, user: str, groups: tuple[str, ...], message: str) -> None:
    outcome = run_container("id", user=user, groups=groups)
    assert outcome.failed is not None and outcome.failed["message"] == message and outcome.output == ""


def test_a_hostile_passwd_file_is_read_bounded(run_container: Run, root: Path) -> None:
    (root / "lower/etc").mkdir()
    with open(root / "lower/etc/passwd", "wb") as file:
        file.truncate(1 << 40)  # sparse: a terabyte without a newline
    outcome = run_container("id", user="alice")
    assert outcome.failed is not None and "/etc/passwd" in outcome.failed["message"] and "longer than" in outcome.failed["message"]


def test_a_passwd_file_that_is_a_fifo_or_a_link_out_does_not_hang(run_container: Run, root: Path) -> None:
    import os

    (root / "lower/etc").mkdir()
    os.mkfifo(root / "lower/etc/passwd")
    outcome = run_container("id", user="alice")
    assert outcome.failed is not None and "not a regular file" in outcome.failed["message"]


def test_home_comes_from_the_passwd_file_unless_it_is_given(run_container: Run) -> None:
    assert run_container("sh", "-c", "echo $HOME", user="alice").output == "/home/alice\n"
    assert run_container("sh", "-c", "echo $HOME", user="4321").output == "/\n"
    assert run_container("sh", "-c", "echo $HOME", change=lambda spec: process(spec, env=(PATH, "HOME=/given"))).output == "/given\n"


def elf(machine: int) -> bytes:
    """The header of a 64-bit little-endian executable for a machine."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0x400000, 64, 0, 0, 64, 56, 0, 0, 0, 0)


def script(root: Path, name: str, content: bytes, mode: int = 0o755) -> None:
    """A file in the image."""
    (root / "lower/usr").mkdir(exist_ok=True)
    path = root / "lower/usr" / name
    path.write_bytes(content)
    path.chmod(mode)


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("nope",), 127, 'exec: "nope": executable file not found in $PATH'),
        (("/nope",), 127, 'exec: "/nope": stat /nope: no such file or directory'),
        (("/etc",), 126, 'exec: "/etc": is a directory'),
        (("/etc/passwd",), 126, 'exec: "/etc/passwd": permission denied'),
        (("/usr/script",), 127, "exec /usr/script: no such file or directory: its interpreter /bin/zsh (named in its first line) does not exist"),
    ],
)
def test_a_command_that_cannot_run_says_why(run_container: Run, root: Path, args: tuple[str, ...], code: int, message: str) -> None:
    script(root, "script", b"#!/bin/zsh -e\necho never\n")
    outcome = run_container(*args)
    assert outcome.failed is not None
    assert (outcome.failed["message"].replace("arm64", "x86-64"), outcome.failed["exit_code"], outcome.code) == (message, code, code)


@pytest.mark.parametrize("init", [None, "builtin"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (elf(22), "it is made for s390x, this host is x86-64: the image's platform does not match"),
        (b"just text\n", "it is neither an ELF program nor a script that begins with #!"),
        (b"", "the file is empty"),
    ],
)
def test_a_file_that_cannot_run_is_started_and_says_why(run_container: Run, root: Path, content: bytes, why: str, init: str | None) -> None:
    script(root, "file", content)
    outcome = run_container("/usr/file", init=init)
    assert outcome.output.replace("arm64", "x86-64") == f"exec /usr/file: exec format error: {why}\n"
    assert (outcome.failed, outcome.code) == (None, 126)


def test_the_path_is_the_containers_and_relative_parts_are_not_searched(run_container: Run, root: Path) -> None:
    script(root, "tool", b"#!/bin/sh\necho found in usr\n")
    assert run_container("tool", change=lambda spec: process(spec, env=("PATH=/nowhere:/usr",))).output == "found in usr\n"
    outcome = run_container("tool", change=lambda spec: process(spec, env=("PATH=.:",), cwd="/usr"))
    assert outcome.failed is not None and outcome.failed["exit_code"] == 127


def test_a_working_directory_is_made_and_entered(run_container: Run, root: Path) -> None:
    outcome = run_container("sh", "-c", "pwd; stat -c '%u %a' .", user="1000", change=lambda spec: process(spec, cwd="/made/for/this"))
    assert outcome.output.split() == ["/made/for/this", "0", "755"]
    (root / "lower/away").symlink_to("/../../tmp/inside")
    (root / "lower/tmp").mkdir()
    (root / "lower/tmp/inside").mkdir()
    assert run_container("sh", "-c", "pwd -P", change=lambda spec: process(spec, cwd="/away")).output == "/tmp/inside\n"


@pytest.mark.parametrize(
    ("cwd", "reason"), [("/etc/passwd", "not a directory"), ("/proc/self/fd/3", "chdir to cwd"), ("/proc/1/cwd", "chdir to cwd")]
)
def test_a_working_directory_that_is_none(run_container: Run, cwd: str, reason: str) -> None:
    outcome = run_container("pwd", change=lambda spec: process(spec, cwd=cwd))
    assert outcome.failed is not None and reason in outcome.failed["message"] and outcome.output == ""


def test_a_folder_that_only_root_may_enter(run_container: Run, root: Path) -> None:
    (root / "lower/locked").mkdir(mode=0o700)
    assert run_container("pwd", change=lambda spec: process(spec, cwd="/locked")).output == "/locked\n"
    assert run_container("pwd", user="1000", change=lambda spec: process(spec, cwd="/locked")).output == "/locked\n", "as Docker"


def test_a_terminal_is_made_inside_and_its_master_comes_back(run_container: Run) -> None:
    outcome = run_container(
        "sh", "-c", "tty; stty size; stat -c '%t:%T' /dev/console; ls /dev/pts; mount | grep console; echo $((1+1)) > /dev/console",
        change=lambda spec: process(spec, terminal=True), stdio=planning.StdioSetup(terminal=True, rows=33, cols=77),
    )  # fmt: skip
    words = outcome.output.split()
    assert words[:3] == ["/dev/pts/0", "33", "77"] and "88:0" in words and words[-1] == "2" and "/dev/console" in words


def test_a_user_owns_the_terminal(run_container: Run) -> None:
    outcome = run_container(
        "sh", "-c", "stat -c %u $(tty)", user="1000", change=lambda spec: process(spec, terminal=True), stdio=planning.StdioSetup(terminal=True)
    )
    assert outcome.output.split() == ["1000"]


def test_the_blank_child_as_init_forwards_signals_reaps_and_exits_as_its_child(run_container: Run) -> None:
    outcome = run_container(
        "sh", "-c", "cat /proc/1/comm; echo $$; (sleep 0.01 &); sleep 0.1; grep -l 'State:.Z' /proc/[0-9]*/status; exit 7", init="builtin"
    )
    assert outcome.output.split() == ["pier-init", "2"] and outcome.code == 7
    outcome = run_container("sh", "-c", "trap 'echo got it; exit 3' TERM; kill -TERM 1; sleep 0.2", init="builtin")
    assert (outcome.output, outcome.code) == ("got it\n", 3)
    assert run_container("sh", "-c", "kill -KILL $$", init="builtin").code == 137
    outcome = run_container("/nope", init="builtin")
    assert outcome.failed is not None and outcome.failed["exit_code"] == 127


def test_an_init_of_the_host_is_bound_and_gets_the_command(run_container: Run, tmp_path: Path) -> None:
    init = tmp_path / "init"
    init.write_text('#!/bin/sh\necho "init: $@"; touch /sbin/docker-init 2>/dev/null || echo protected\n')
    init.chmod(0o755)
    outcome = run_container("echo", "hello", init=f"host:{init}")
    assert outcome.output.splitlines() == ["init: -- echo hello"] + ["protected"] * ("protected" in outcome.output)
    assert stat.S_IMODE(init.stat().st_mode) == 0o755


def exec_of(host: facts.HostFacts, *args: str, user: str = "", cwd: str = "/", terminal: bool = False, by_pidfd: bool = False) -> planning.Plan:
    """An exec's plan with the default capabilities and profile; the launcher hands over the namespaces in this order."""
    spec = defaults.default_spec(host, args)
    kinds = ("cgroup", "ipc", "uts", "network", "mount")
    extras = planning.ExecExtras(
        user=user,
        join={kind: 5 if by_pidfd else index for index, kind in enumerate(kinds)},
        seccomp=spec.linux.seccomp,
        stdio=planning.StdioSetup(terminal=terminal, rows=5, cols=6),
    )
    return planning.exec_plan(msgspec.structs.replace(spec.process, cwd=cwd, terminal=terminal), extras, host)


def test_an_exec_is_in_the_container_with_its_locks(run_container: Run, host: facts.HostFacts) -> None:
    def change(spec: Spec) -> Spec:
        return msgspec.structs.replace(spec, hostname="inside")

    outcome = run_container(
        "sh", "-c", "echo from one > /tmp/shared; sleep 30", change=change,
        execs=(
            exec_of(host, "sh", "-c", "hostname; while [ ! -e /tmp/shared ]; do :; done; "
                "cat /tmp/shared; readlink /proc/1/exe; grep -E 'CapEff|Seccomp:' /proc/self/status; pwd"),
            exec_of(host, "sh", "-c", "id -u; pwd; for n in 0 1 2 3 4 5 6 7 8 9; "
                "do [ -L /proc/$$/fd/$n ] && echo -n $n; done; echo", user="alice", cwd="/tmp"),
            exec_of(host, "sh", "-c", "tty; stty size", terminal=True),
            exec_of(host, "hostname", by_pidfd=True),
        ),
    )  # fmt: skip
    assert outcome.output.split() == [
        "inside", "from", "one", "/bin/busybox", "CapEff:", "00000000a80425fb", "Seccomp:", "2", "/", "1000", "/tmp", "012",
        "/dev/pts/0", "5", "6", "inside",
    ], outcome  # fmt: skip


def test_an_exec_that_cannot_run(run_container: Run, host: facts.HostFacts) -> None:
    outcome = run_container("sleep", "30", execs=(exec_of(host, "nope"),))
    assert outcome.failed is not None and outcome.failed["message"] == 'exec: "nope": executable file not found in $PATH' and outcome.code == 127
    outcome = run_container("sleep", "30", execs=(exec_of(host, "pwd", cwd="/not/there"),))
    assert (
        outcome.failed is not None and outcome.failed["message"] == 'chdir to cwd ("/not/there") set in config.json failed: no such file or directory'
    )


def test_a_process_without_a_command_is_refused_before_anything(host: facts.HostFacts) -> None:
    from pier.errors import Invalid

    with pytest.raises(Invalid, match="no command specified"):
        planning.exec_plan(Process(args=()), planning.ExecExtras(), host)
