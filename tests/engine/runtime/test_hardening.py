"""What a container gets when nobody asks, seen from inside; and what changes when somebody does."""

import os
from pathlib import Path

import msgspec
import pytest

from pier.oci.runtime_spec import Mount, Rlimit, Spec
from pier.runtime import defaults, facts
from tests.engine.runtime.conftest import Run, linux, process

DEFAULT_CAPS = "00000000a80425fb"

OF_THE_C_LIBRARY = 3 << 31
"""Signals 32 and 33: what the caller of these tests had set for them no program can change through its C library."""


def lines(text: str) -> dict[str, str]:
    """`Key:\tvalue` lines."""
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def test_capabilities_seccomp_and_no_new_privs_of_the_default(run_container: Run) -> None:
    status = lines(run_container("cat", "/proc/self/status").output)
    assert [status[f"Cap{kind}"] for kind in ("Prm", "Eff", "Bnd")] == [DEFAULT_CAPS] * 3
    assert [status[f"Cap{kind}"] for kind in ("Inh", "Amb")] == ["0" * 16] * 2
    assert (status["Seccomp"], status["NoNewPrivs"], status["Umask"]) == ("2", "0", "0022")
    assert int(status["SigIgn"], 16) & ~OF_THE_C_LIBRARY == 0 and status["SigBlk"] == "0" * 16


def test_a_user_has_no_effective_capability_but_keeps_the_bounding_set(run_container: Run) -> None:
    status = lines(run_container("cat", "/proc/self/status", user="1000").output)
    assert [status[f"Cap{kind}"] for kind in ("Prm", "Eff", "Amb", "Inh")] == ["0" * 16] * 4
    assert status["CapBnd"] == DEFAULT_CAPS


def test_ambient_capabilities_reach_a_user(run_container: Run) -> None:
    names = ("CAP_NET_BIND_SERVICE",)
    sets = msgspec.structs.replace(defaults.capability_sets(names), inheritable=names, ambient=names)
    status = lines(run_container("cat", "/proc/self/status", user="1000", change=lambda spec: process(spec, capabilities=sets)).output)
    assert [status[f"Cap{kind}"] for kind in ("Prm", "Eff", "Amb", "Inh", "Bnd")] == ["0000000000000400"] * 5


def test_no_new_privileges(run_container: Run) -> None:
    status = lines(run_container("cat", "/proc/self/status", user="1000", change=lambda spec: process(spec, no_new_privileges=True)).output)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_only_the_three_streams_are_open_and_the_root_is_pivoted(run_container: Run) -> None:
    outcome = run_container(
        "sh", "-c", "for n in 0 1 2 3 4 5 6 7 8 9 10 11 12; do [ -L /proc/1/fd/$n ] && echo -n $n; done; echo; readlink /proc/1/root"
    )
    assert outcome.output.split() == ["012", "/"]


def test_masked_paths_show_nothing_and_stay_so(run_container: Run) -> None:
    outcome = run_container(
        "sh", "-c", "cat /proc/keys /proc/timer_list /proc/interrupts; ls -A /proc/acpi /sys/firmware 2>/dev/null; touch /sys/firmware/x; echo end"
    )
    assert "end" in outcome.output and "Read-only file system" in outcome.output
    assert outcome.output.split("\n")[:3] == ["/proc/acpi:", "", "/sys/firmware:"]
    assert len(outcome.output.splitlines()) == 5


def test_readonly_paths_refuse_writes(run_container: Run) -> None:
    outcome = run_container(
        "sh",
        "-c",
        "for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/kernel/uevent_helper /proc/sys/kernel/modprobe; do echo x > $f; "
        "done; echo end",
    )
    assert outcome.output.count("Read-only file system") + outcome.output.count("nonexistent") >= 4


def test_cgroups_are_read_only_and_show_just_the_own(run_container: Run, host: facts.HostFacts) -> None:
    outcome = run_container(
        "sh",
        "-c",
        "find /sys/fs/cgroup -name release_agent; for d in /sys/fs/cgroup/*; do mkdir $d/x 2>/dev/null && echo made $d; done; cat /proc/self/cgroup",
        cgroup=True,
    )
    assert "release_agent" not in outcome.output and "made" not in outcome.output
    assert host.cgroups.parent in outcome.output or host.cgroups.mode == "v2"


def test_mounts_are_those_of_docker(run_container: Run) -> None:
    found = {line.split()[2]: line for line in run_container("mount").output.splitlines()}
    assert "(ro,nosuid,nodev,noexec" in found["/sys"] and "(rw,nosuid,nodev,noexec" in found["/proc"]
    assert "size=65536k" in found["/dev/shm"] and "nosuid,nodev,noexec" in found["/dev/shm"]
    assert "mode=755" in found["/dev"] and "ptmxmode=666" in found["/dev/pts"] and "gid=5" in found["/dev/pts"]
    assert {"/dev/mqueue", "/proc/sys", "/proc/bus"} <= found.keys()


def test_dev_has_the_default_devices_and_links(run_container: Run) -> None:
    outcome = run_container(
        "sh", "-c", "cd /dev; ls; stat -c '%n %t:%T %a' null zero full random urandom tty; readlink ptmx; readlink fd; stat -c %a shm"
    )
    assert outcome.output.split("\n")[:-1] == [
        "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero",
        "null 1:3 666", "zero 1:5 666", "full 1:7 666", "random 1:8 666", "urandom 1:9 666", "tty 5:0 666", "pts/ptmx", "/proc/self/fd", "1777",
    ]  # fmt: skip


def test_privileged_sees_and_changes_everything(run_container: Run, host: facts.HostFacts) -> None:
    outcome = run_container(
        "sh",
        "-c",
        "grep CapEff /proc/self/status; grep Seccomp: /proc/self/status; "
        "mount | grep -E ' /sys .*rw'; ls /proc/timer_list; mount | grep -c /proc/sys",
        change=lambda spec: defaults.privileged_spec(host, spec),
    )
    assert "000001ffffffffff" in outcome.output or "CapEff:\t000001ff" in outcome.output
    assert "Seccomp:\t0" in outcome.output and " /sys " in outcome.output
    assert outcome.output.splitlines()[-1] == "0"


def test_device_rules_refuse_the_hosts_disks_even_where_mknod_works(run_container: Run) -> None:
    outcome = run_container(
        "sh", "-c", "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk; mknod /tmp/n c 1 3 && echo fine > /tmp/n && echo null works", limits=True
    )
    assert "Operation not permitted" in outcome.output and "null works" in outcome.output


def test_namespaces_of_users_are_refused(run_container: Run) -> None:
    outcome = run_container("sh", "-c", "unshare -U true; unshare -m true; mount -t tmpfs x /tmp; echo end")
    assert outcome.output.count("not permitted") + outcome.output.count("permission denied") == 3


def test_hostname_and_sysctls(run_container: Run) -> None:
    def change(spec: Spec) -> Spec:
        return linux(
            msgspec.structs.replace(spec, hostname="inside"),
            sysctl={**spec.linux.sysctl, "kernel.shmmax": "4096", "net.ipv4.conf.all.forwarding": "1"},
        )

    outcome = run_container(
        "sh", "-c", "hostname; cat /proc/sys/net/ipv4/ping_group_range /proc/sys/kernel/shmmax /proc/sys/net/ipv4/conf/all/forwarding", change=change
    )
    assert outcome.output.split() == ["inside", "0", "2147483647", "4096", "1"]


def test_read_only_root_with_tmpfs_and_binds(run_container: Run, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("from the host")
    outcome = run_container(
        "sh", "-c", "touch /x; touch /scratch/y && echo scratch; cat /ro/file; touch /ro/z; touch /rw/made; cat /single; mount | grep /scratch",
        change=lambda spec: msgspec.structs.replace(spec, root=msgspec.structs.replace(spec.root, readonly=True)),
        mounts=(
            Mount(destination="/scratch", type="tmpfs", source="tmpfs", options=("nosuid", "nodev", "noexec", "size=1m")),
            Mount(destination="/ro", type="bind", source=str(source), options=("rbind", "ro")),
            Mount(destination="/rw", type="bind", source=str(source), options=("rbind",)),
            Mount(destination="/single", type="bind", source=str(source / "file"), options=("bind",)),
        ),
    )  # fmt: skip
    assert outcome.output.count("Read-only file system") == 2
    assert "scratch" in outcome.output and outcome.output.count("from the host") == 2 and "size=1024k" in outcome.output
    assert (source / "made").exists() and not (source / "z").exists()


def test_read_only_binds_without_mount_setattr(run_container: Run, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    outcome = run_container(
        "sh", "-c", "touch /ro/z; echo end", without="-mount_setattr",
        mounts=(Mount(destination="/ro", type="bind", source=str(tmp_path / "source"), options=("rbind", "ro")),),
    )  # fmt: skip
    assert "Read-only file system" in outcome.output and not (tmp_path / "source/z").exists()


@pytest.mark.parametrize("without", ["-overlay_fd", "-overlay_fd,-overlay_append"])
def test_the_root_without_the_newest_overlay(run_container: Run, root: Path, without: str) -> None:
    (root / "lower/hello").write_text("from the upper layer\n")
    outcome = run_container("sh", "-c", "cat /hello; echo written > /kept; mount | head -1", without=without)
    assert outcome.failed is None and "from the upper layer" in outcome.output and "overlay" in outcome.output
    assert (root / "upper/kept").read_text() == "written\n"


def test_limits_of_resources_and_one_that_the_host_does_not_give(run_container: Run) -> None:
    limits = (Rlimit("RLIMIT_NOFILE", 100, 200), Rlimit("RLIMIT_CORE", 2**64 - 1, 2**64 - 1))
    outcome = run_container("sh", "-c", "grep -E 'open files|core' /proc/self/limits", change=lambda spec: process(spec, rlimits=limits))
    assert (
        outcome.output.split() == ["Max", "core", "file", "size", "unlimited", "unlimited", "bytes", "Max", "open", "files", "100", "200", "files"]
        and not outcome.warnings
    )
    with open("/proc/sys/fs/nr_open") as file:
        too_many = int(file.read()) + 1
    outcome = run_container("true", change=lambda spec: process(spec, rlimits=(Rlimit("RLIMIT_NOFILE", 100, too_many),)))
    assert outcome.code == 0 and "more than this host allows" in outcome.warnings[0]


def test_memory_limit_kills_and_pids_limit_holds(run_container: Run) -> None:
    from pier.oci.runtime_spec import Memory, Pids

    def change(spec: Spec) -> Spec:
        resources = msgspec.structs.replace(spec.linux.resources, memory=Memory(limit=16 << 20, swap=16 << 20), pids=Pids(limit=20))
        return linux(spec, resources=resources)

    outcome = run_container(
        "sh",
        "-c",
        "dd if=/dev/zero of=/dev/null bs=64M count=1; echo $?; for i in $(seq 40); do sleep 9 & done; echo end",
        change=change,
        limits=True,
    )
    assert "137" in outcome.output and ("fork" in outcome.output or "Resource temporarily" in outcome.output)


def test_oom_score_adj_of_the_container(run_container: Run) -> None:
    assert run_container("cat", "/proc/self/oom_score_adj", change=lambda spec: process(spec, oom_score_adj=123)).output.strip() == "123"


def test_the_session_keyring_is_not_the_hosts(run_container: Run) -> None:
    outcome = run_container("sh", "-c", "cat /proc/key-users >/dev/null; echo ok", keyring="a" * 64)
    assert outcome.code == 0, outcome


def test_handed_over_descriptor_stands_for_a_source(run_container: Run, tmp_path: Path) -> None:
    from pier.linux import mounts

    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_text("by descriptor")
    fd = mounts.clone_tree(str(tmp_path / "source"))
    os.set_inheritable(fd, True)
    try:
        mount = Mount(destination="/there", type="bind", source="", options=("bind", "ro"))
        outcome = run_container("cat", "/there/file", mounts=(mount,), sources={"/there": 0}, fds=(fd,))
    finally:
        os.close(fd)
    assert outcome.output == "by descriptor", outcome
