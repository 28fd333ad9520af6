"""`docker run`: what the container sees of each option, and the exit code that comes back."""

import os
from pathlib import Path

import pytest

from .conftest import Target


def sh(docker: Target, script: str, *options: str) -> str:
    """What a script prints in a container that is removed after it."""
    return docker("run", "--rm", *options, docker.image, "sh", "-c", script).ok().line


def test_output_goes_where_it_was_written(docker: Target) -> None:
    done = docker("run", "--rm", docker.image, "sh", "-c", "echo out; echo err >&2").ok()
    assert (done.out, done.err) == ("out\n", "err\n")


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_exit_code(docker: Target, code: int) -> None:
    docker("run", "--rm", docker.image, "sh", "-c", f"exit {code}").fails(code)


def test_exit_by_signal_is_128_and_its_number(docker: Target) -> None:
    docker("run", "--rm", "--init", docker.image, "sh", "-c", "kill -TERM $$").fails(143)


def test_command_that_is_not_there(docker: Target) -> None:
    docker("run", "--rm", docker.image, "nope").fails(127, 'exec: "nope": executable file not found in $PATH')


def test_command_that_is_a_file_without_mode(docker: Target) -> None:
    docker("run", "--rm", docker.image, "/etc/not-a-program").fails(126, 'exec: "/etc/not-a-program": permission denied')


def test_command_that_is_a_folder(docker: Target) -> None:
    docker("run", "--rm", docker.image, "/etc").fails(126, 'exec: "/etc": is a directory')


@pytest.mark.parametrize(("command", "code", "reason"), [("wrong-arch", 126, "exec format error"), ("no-interpreter", 127, "no such file or directory")])
def test_command_that_the_kernel_refuses(docker: Target, command: str, code: int, reason: str) -> None:
    done = docker("run", "--rm", docker.image, command)
    assert done.code in (code, 255), done  # runc 1.3 hands over before its execve, and says 255
    assert f"/bin/{command}" in done.err and reason in done.err


def test_a_failed_start_leaves_the_container_created(docker: Target) -> None:
    name = docker.name()
    docker("run", "--name", name, docker.image, "nope").fails(127)
    assert docker.inspect(name, "{{.State.Status}} {{.State.ExitCode}}") == "created 127"


def test_image_that_is_not_there(docker: Target) -> None:
    docker("run", "--pull", "never", "--rm", "pier-test/nope:latest").fails(125, "No such image: pier-test/nope:latest")


def test_name_that_is_taken(docker: Target) -> None:
    name = docker.name()
    taken = docker("create", "--name", name, docker.image).ok().line
    done = docker("run", "--name", name, docker.image, "true").fails(125)
    assert f'Conflict. The container name "/{name}" is already in use by container "{taken}"' in done.err


def test_name_that_is_none(docker: Target) -> None:
    docker("run", "--name", "a/b", docker.image).fails(125, "Invalid container name (a/b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


def test_detached_prints_the_id(docker: Target) -> None:
    container = docker.background(docker.image, "sleep", "60")
    assert len(container) == 64 and docker.inspect(container, "{{.State.Running}}") == "true"


def test_removed_when_it_ends(docker: Target) -> None:
    name = docker.name()
    docker("run", "--rm", "--name", name, docker.image, "true").ok()
    docker("inspect", name).fails(1, f"No such object: {name}")


def test_stdin_is_piped_to_the_end(docker: Target) -> None:
    data = b"line\n" * 20000
    assert docker("run", "--rm", "-i", docker.image, "wc", "-c", stdin=data).ok().line == str(len(data))
    assert docker("run", "--rm", "-i", docker.image, "cat", stdin=data).ok().out.encode() == data


def test_without_i_stdin_is_empty(docker: Target) -> None:
    assert docker("run", "--rm", docker.image, "wc", "-c", stdin=b"hello").ok().line == "0"


def test_environment(docker: Target, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("FROM_FILE=f f\n# a comment\nA=file\n")
    out = sh(docker, "env | sort", "-e", "A=1", "-e", "EMPTY=", "--env-file", str(tmp_path / "env"), "--hostname", "box")
    values = dict(line.split("=", 1) for line in out.splitlines())
    assert {k: values[k] for k in ("A", "EMPTY", "FROM_FILE", "HOSTNAME", "HOME")} == {
        "A": "1", "EMPTY": "", "FROM_FILE": "f f", "HOSTNAME": "box", "HOME": "/root"}
    assert values["PATH"].startswith("/usr/local/sbin:")


def test_entrypoint_and_workdir(docker: Target) -> None:
    assert docker("run", "--rm", "--entrypoint", "/bin/echo", docker.image, "a", "b").ok().out == "a b\n"
    assert sh(docker, "pwd", "-w", "/made/for/it") == "/made/for/it"


@pytest.mark.parametrize(("user", "expected"), [
    ("1000", "uid=1000(alice) gid=1000(alice) groups=29(audio),1000(alice)"),
    ("alice", "uid=1000(alice) gid=1000(alice) groups=29(audio),1000(alice)"),
    ("alice:staff", "uid=1000(alice) gid=50(staff) groups=50(staff)"),
    ("4242:4343", "uid=4242 gid=4343 groups=4343"),
    ("4242", "uid=4242 gid=0(root) groups=0(root)"),
])  # fmt: skip
def test_user(docker: Target, user: str, expected: str) -> None:
    assert sh(docker, "id", "-u", user) == expected


def test_user_that_is_not_there(docker: Target) -> None:
    docker("run", "--rm", "-u", "nobody-here", docker.image, "true").fails(125, "unable to find user nobody-here: no matching entries in passwd file")


def test_group_add(docker: Target) -> None:
    assert sh(docker, "id -G", "-u", "1000", "--group-add", "staff", "--group-add", "777").split() == ["1000", "29", "50", "777"]


def test_hostname_hosts_and_dns(docker: Target) -> None:
    out = sh(docker, "hostname; cat /etc/hosts /etc/resolv.conf", "-h", "web", "--add-host", "db:10.1.2.3", "--add-host", "me:host-gateway", "--dns",
             "192.0.2.53", "--dns-search", "example.test", "--dns-option", "ndots:3")  # fmt: skip
    assert out.startswith("web\n") and "10.1.2.3\tdb" in out and "\tweb" in out
    assert "nameserver 192.0.2.53" in out and "search example.test" in out and "options ndots:3" in out and "\tme\n" in out


def test_default_hostname_is_the_short_id(docker: Target) -> None:
    container = docker("run", "-d", docker.image, "hostname").ok().line
    docker("wait", container).ok()
    assert docker("logs", container).ok().line == container[:12]


def test_labels(docker: Target, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("file=yes\n")
    container = docker("create", "-l", "a=b", "-l", "c", "--label-file", str(tmp_path / "labels"), docker.image).ok().line
    assert docker.inspect(container, '{{index .Config.Labels "a"}} [{{index .Config.Labels "c"}}] {{.Config.Labels.file}}') == "b [] yes"


def test_default_capabilities_and_no_more(docker: Target) -> None:
    lines = dict(line.split(":\t") for line in sh(docker, "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status").splitlines())
    assert lines == {"CapInh": "0" * 16, "CapPrm": "00000000a80425fb", "CapEff": "00000000a80425fb", "CapBnd": "00000000a80425fb", "CapAmb": "0" * 16,
                     "NoNewPrivs": "0", "Seccomp": "2"}  # fmt: skip


@pytest.mark.parametrize(("options", "effective"), [
    (("--cap-drop", "ALL"), "0000000000000000"),
    (("--cap-drop", "ALL", "--cap-add", "NET_ADMIN"), "0000000000001000"),
    (("--cap-add", "CAP_SYS_PTRACE"), "00000000a80c25fb"),
    (("-u", "1000"), "0000000000000000"),
])  # fmt: skip
def test_capabilities(docker: Target, options: tuple[str, ...], effective: str) -> None:
    assert sh(docker, "grep CapEff /proc/self/status", *options).split()[1] == effective


def test_capability_that_is_none(docker: Target) -> None:
    docker("run", "--rm", "--cap-add", "FLY", docker.image).fails(125, "invalid CapAdd: unknown capability: \"CAP_FLY\"")


def test_privileged(docker: Target) -> None:
    out = sh(docker, "grep -E 'CapEff|Seccomp:' /proc/self/status; test -w /sys/kernel && ls /dev/loop-control && echo x > /proc/sys/kernel/domainname && echo yes",
             "--privileged")  # fmt: skip
    caps = int(out.split("\n")[0].split()[1], 16)
    assert caps >= (1 << 38) - 1 and "Seccomp:\t0" in out and out.endswith("yes")


def test_hardening_of_proc_and_sys(docker: Target) -> None:
    out = sh(docker, """
        echo masked $(cat /proc/kcore /proc/timer_list /proc/keys /proc/interrupts 2>/dev/null | wc -c) $(ls -A /proc/acpi | wc -l) $(ls -A /sys/firmware | wc -l)
        for f in /sys/x /proc/sys/kernel/hostname /sys/fs/cgroup/x; do touch $f 2>&1 | grep -q Read-only && echo read-only $f; done
        echo umask $(umask) oom $(cat /proc/self/oom_score_adj)
        echo devices $(ls /dev | sort)""")  # fmt: skip
    assert out.splitlines() == [
        "masked 0 0 0",
        "read-only /sys/x", "read-only /proc/sys/kernel/hostname",
        *(["read-only /sys/fs/cgroup/x"] if "read-only /sys/fs/cgroup/x" in out else []),  # a writable tmpfs of Docker's on cgroup v1
        "umask 0022 oom 0",
        "devices core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero",
    ]  # fmt: skip


def test_no_new_privileges_and_unconfined(docker: Target) -> None:
    out = sh(docker, "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status", "--security-opt", "no-new-privileges", "--security-opt", "seccomp=unconfined")
    assert out.split() == ["NoNewPrivs:", "1", "Seccomp:", "0"]


def test_seccomp_profile_from_a_file(docker: Target, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text('{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}')
    docker("run", "--rm", "--security-opt", f"seccomp={profile}", docker.image, "mkdir", "/x").fails(1, "No space left on device")


def test_unshare_is_refused_by_the_default_filter(docker: Target) -> None:
    docker("run", "--rm", docker.image, "unshare", "-n", "true").fails(1, "Operation not permitted")


def test_systempaths_unconfined(docker: Target) -> None:
    script = "grep -c ' /proc/' /proc/mounts; wc -c < /proc/timer_list"
    assert int(sh(docker, script).split()[0]) > 5
    assert sh(docker, f"{script.partition(';')[0]} || true", "--security-opt", "systempaths=unconfined") == "0"


def test_read_only_and_tmpfs(docker: Target) -> None:
    docker("run", "--rm", "--read-only", docker.image, "touch", "/x").fails(1, "Read-only file system")
    out = sh(docker, "touch /scratch/x && grep ' /scratch ' /proc/mounts; stat -c %a /scratch", "--read-only", "--tmpfs", "/scratch:size=1m,mode=0711")
    assert "size=1024k" in out and "noexec" in out and out.endswith("711")


def test_bind_mounts(docker: Target, shared: Path) -> None:
    (shared / "file").write_text("from outside")
    assert sh(docker, "cat /data/file; echo inside > /data/back; cat /one", "-v", f"{shared}:/data", "-v", f"{shared}/file:/one:ro") == "from outside" * 2
    assert (shared / "back").read_text() == "inside\n"
    docker("run", "--rm", "-v", f"{shared}:/data:ro", docker.image, "touch", "/data/x").fails(1, "Read-only file system")
    docker("run", "--rm", "--mount", f"type=bind,src={shared},dst=/data,readonly", docker.image, "touch", "/data/x").fails(1, "Read-only file system")


def test_bind_source_that_is_missing(docker: Target, shared: Path) -> None:
    sh(docker, "true", "-v", f"{shared}/made:/data")
    assert (shared / "made").is_dir()  # -v makes it, --mount does not
    done = docker("run", "--rm", "--mount", f"type=bind,src={shared}/missing,dst=/data", docker.image).fails(125)
    assert f"bind source path does not exist: {shared}/missing" in done.err


def test_relative_mount_targets_are_refused(docker: Target, shared: Path) -> None:
    docker("run", "--rm", "--mount", f"type=bind,src={shared},dst=data", docker.image).fails(125, "mount path must be absolute")


def test_ulimits_and_shm(docker: Target) -> None:
    assert sh(docker, "ulimit -n; ulimit -Hn; df -k /dev/shm | tail -1 | awk '{print $2}'", "--ulimit", "nofile=123:456", "--shm-size", "8m").split() == [
        "123", "456", "8192"]  # fmt: skip


def cgroup_file(docker: Target, v1: str, v2: str, *options: str) -> str:
    return sh(docker, f"cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}", *options)


def test_limits(docker: Target) -> None:
    assert cgroup_file(docker, "memory/memory.limit_in_bytes", "memory.max", "-m", "64m") == str(64 << 20)
    assert cgroup_file(docker, "pids/pids.max", "pids.max", "--pids-limit", "33") == "33"
    assert cgroup_file(docker, "cpu/cpu.cfs_quota_us", "cpu.max", "--cpus", "0.5").split()[0] == "50000"
    assert cgroup_file(docker, "cpuset/cpuset.cpus", "cpuset.cpus", "--cpuset-cpus", "0") == "0"
    assert cgroup_file(docker, "cpu/cpu.shares", "cpu.weight", "--cpu-shares", "512") in ("512", "20", "59")


def test_pids_limit_holds(docker: Target) -> None:
    done = docker("run", "--rm", "--pids-limit", "8", docker.image, "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done; wait")
    assert "can't fork" in done.err


def test_out_of_memory_is_told(docker: Target) -> None:
    name = docker.name()
    docker("run", "--name", name, "-m", "16m", "--memory-swap", "16m", docker.image, "sh", "-c", "tail /dev/zero").fails(137)
    assert docker.inspect(name, "{{.State.OOMKilled}} {{.State.ExitCode}}") == "true 137"


def test_memory_below_the_least_is_refused(docker: Target) -> None:
    docker("run", "--rm", "-m", "1m", docker.image).fails(125, "Minimum memory limit allowed is 6MB")


def test_cpus_beyond_the_machine_are_refused(docker: Target) -> None:
    docker("run", "--rm", "--cpus", "4096", docker.image).fails(125, "ange of CPUs is from 0.01 to")


def test_init_is_the_first_process_and_reaps(docker: Target) -> None:
    out = sh(docker, "(sleep 0.1 &); sleep 0.4; ps -o pid,stat,args; readlink /proc/1/exe || true", "--init")
    assert " Z" not in out and "docker-init" in out


def test_oom_score_and_sysctl(docker: Target) -> None:
    assert sh(docker, "cat /proc/self/oom_score_adj /proc/sys/net/core/somaxconn", "--oom-score-adj", "321", "--sysctl", "net.core.somaxconn=77").split() == [
        "321", "77"]  # fmt: skip
    done = docker("run", "--rm", "--sysctl", "kernel.panic=1", docker.image)
    assert done.code in (125, 126) and "kernel.panic" in done.err


def test_device(docker: Target) -> None:
    script = "ls -l /dev/mine | cut -c1; : < /dev/mine && echo read; (: > /dev/mine) 2>/dev/null || echo refused"
    assert sh(docker, script, "--device", "/dev/loop-control:/dev/mine:r").split() == ["c", "read", "refused"]
    docker("run", "--rm", "--device", "/dev/nowhere", docker.image).fails(127, "/dev/nowhere", "no such file or directory")


def test_a_device_made_by_hand_cannot_be_opened(docker: Target) -> None:
    out = sh(docker, "mknod /k c 1 11 && (head -c 1 /k; true) 2>&1")
    assert "Operation not permitted" in out


def test_network_of_a_bridge(docker: Target) -> None:
    out = sh(docker, "ip -4 -o addr show eth0; ip route; gw=$(ip route | awk '/default/{print $3}'); ping -c 1 -W 5 $gw >/dev/null && echo reached")
    assert out.endswith("reached") and "default via" in out and "/16" in out


def test_network_none_and_host(docker: Target) -> None:
    assert sh(docker, "ls /sys/class/net | grep -v lo | wc -l; ping -c 1 127.0.0.1 >/dev/null && echo lo", "--network", "none").split() == ["0", "lo"]
    host_links = sh(docker, "ls /sys/class/net", "--network", "host").split()
    assert "lo" in host_links and len(host_links) > 1 and "eth0" not in set(host_links) - host_names()


def host_names() -> set[str]:
    """The links of this process's own network namespace."""
    return set(os.listdir("/sys/class/net"))


def test_network_of_another_container(docker: Target) -> None:
    first = docker.background(docker.image, "nc", "-ll", "-p", "7777", "-e", "echo", "hi")
    script = "for i in 1 2 3 4 5 6 7 8 9; do nc 127.0.0.1 7777 && break; sleep 0.2; done; ip -o -4 addr show eth0 | awk '{print $4}'"
    out = sh(docker, script, "--network", f"container:{first}")
    assert out.split()[0] == "hi" and out.split()[1].startswith(docker.inspect(first, "{{.NetworkSettings.IPAddress}}"))


def test_two_containers_reach_each_other(docker: Target) -> None:
    first = docker.background(docker.image, "sleep", "60")
    address = docker.inspect(first, "{{.NetworkSettings.IPAddress}}")
    assert "1 packets received" in sh(docker, f"ping -c 1 -W 5 {address}")


def test_pid_ipc_and_uts_of_the_host(docker: Target) -> None:
    assert int(sh(docker, "ps -o pid | wc -l", "--pid", "host")) > 5
    assert sh(docker, "readlink /proc/self/ns/ipc", "--ipc", "host") == os.readlink("/proc/self/ns/ipc")
    assert sh(docker, "readlink /proc/self/ns/uts", "--uts", "host") == os.readlink("/proc/self/ns/uts")
    assert sh(docker, "readlink /proc/self/ns/ipc") != os.readlink("/proc/self/ns/ipc")


def test_pid_namespace_is_its_own(docker: Target) -> None:
    assert sh(docker, "echo $$; ls -d /proc/[0-9]* | wc -l").split()[0] == "1"


def test_ipc_of_another_container(docker: Target) -> None:
    first = docker.background("--ipc", "shareable", docker.image, "sh", "-c", "echo here > /dev/shm/x; sleep 60")
    assert sh(docker, "for i in 1 2 3 4 5; do cat /dev/shm/x && break; sleep 0.2; done", "--ipc", f"container:{first}") == "here"


def test_cidfile(docker: Target, tmp_path: Path) -> None:
    cidfile = tmp_path / "cid"
    container = docker("run", "-d", "--cidfile", str(cidfile), docker.image, "true").ok().line
    assert cidfile.read_text() == container
    docker("run", "--cidfile", str(cidfile), docker.image).fails(125, "container ID file found")


def test_log_driver_none(docker: Target) -> None:
    container = docker("run", "-d", "--log-driver", "none", docker.image, "echo", "x").ok().line
    docker("wait", container).ok()
    docker("logs", container).fails(1, "configured logging driver does not support reading")


def test_unknown_flag_and_bad_value(docker: Target) -> None:
    docker("run", "--memory", "lots", docker.image).fails(125, "invalid argument")
    docker("run", "--restart", "sometimes", docker.image).fails(125, "sometimes")


def test_platform_of_another_architecture(docker: Target) -> None:
    done = docker("run", "--rm", "--pull", "never", "--platform", "linux/s390x", docker.image)
    assert done.code == 125 and "s390x" in done.err
