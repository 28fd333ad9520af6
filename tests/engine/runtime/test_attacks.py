"""Attacks that have worked on engines, on the blank child: hostile images, mount points that are links, forbidden system calls."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pier.oci.runtime_spec import Mount, Spec
from pier.runtime import defaults, facts
from tests.engine.runtime.conftest import Run, process


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_an_image_whose_proc_or_sys_is_a_link_is_refused(run_container: Run, root: Path, name: str) -> None:
    (root / "lower" / name).symlink_to("/tmp")
    outcome = run_container("true")
    assert outcome.failed is not None and f"/{name} must not be a link" in outcome.failed["message"]


def test_an_image_whose_dev_is_a_link_gets_its_devices_inside(run_container: Run, root: Path) -> None:
    (root / "lower/dev").symlink_to("../../../../../../tmp")
    outcome = run_container("sh", "-c", "mount | grep -c ' /tmp type tmpfs'; stat -c %t:%T /tmp/null")
    assert outcome.output.split() == ["1", "1:3"]
    assert not os.path.exists("/tmp/null")


def test_mount_targets_through_links_stay_inside(run_container: Run, root: Path, tmp_path: Path) -> None:
    canary, source = tmp_path / "canary", tmp_path / "source"
    for folder in (canary, source):
        folder.mkdir()
    (root / "lower/out").symlink_to(canary)
    (root / "lower/up").symlink_to("../../../../../../../../.." + str(canary))
    bind = ("bind",)
    outcome = run_container(
        "sh", "-c", "touch /out/x /up/y; echo end",
        mounts=(
            Mount(destination="/out/deep", type="bind", source=str(source), options=bind),
            Mount(destination="/up/../../../made", type="bind", source=str(source), options=bind),
            Mount(destination="/../../../../escape", type="bind", source=str(source), options=bind),
        ),
    )  # fmt: skip
    assert list(canary.iterdir()) == [] and not os.path.exists("/escape")
    assert outcome.output == "end\n"
    assert (root / "upper" / str(canary)[1:] / "deep").is_dir()  # the link's target, inside


def test_a_dangling_link_as_mount_target_is_not_followed_out(run_container: Run, root: Path, tmp_path: Path) -> None:
    (root / "lower/link").symlink_to(tmp_path / "not-there")
    (tmp_path / "source").mkdir()
    outcome = run_container("true", mounts=(Mount(destination="/link", type="bind", source=str(tmp_path / "source"), options=("bind",)),))
    assert not (tmp_path / "not-there").exists()
    assert outcome.failed is None or "/link" in outcome.failed["message"]


def test_a_magic_link_as_mount_target_is_refused(run_container: Run, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    mount = Mount(destination="/proc/self/cwd/x", type="bind", source=str(tmp_path / "source"), options=("bind",))
    outcome = run_container("true", mounts=(mount,))
    assert outcome.failed is not None and outcome.failed["errno"] == errno.ELOOP


def test_a_missing_bind_source_is_named(run_container: Run, tmp_path: Path) -> None:
    mount = Mount(destination="/x", type="bind", source=str(tmp_path / "missing"), options=("bind",))
    outcome = run_container("true", mounts=(mount,))
    assert outcome.failed is not None and outcome.failed["message"] == f"bind source path does not exist: {tmp_path}/missing"


def test_a_folder_onto_a_file_is_refused(run_container: Run, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    outcome = run_container("true", mounts=(Mount(destination="/etc/passwd", type="bind", source=str(tmp_path / "source"), options=("bind",)),))
    assert outcome.failed is not None and "/etc/passwd" in outcome.failed["message"]


def test_the_entrypoint_proc_self_exe_runs_nothing_of_the_host(run_container: Run, root: Path) -> None:
    (root / "lower/evil").write_text("#!/proc/self/exe\n")
    (root / "lower/evil").chmod(0o755)
    outcome = run_container("/evil")
    # /proc/self/exe is the host's interpreter for the kernel at that moment: it must not be writable from what comes of it, nor run with rights.
    assert "Python" not in outcome.output and outcome.code != 0


def test_no_mount_of_the_container_reaches_the_host(run_container: Run) -> None:
    with open("/proc/self/mountinfo") as file:
        before = len(file.readlines())
    run_container("true")
    with open("/proc/self/mountinfo") as file:
        assert len(file.readlines()) == before


def test_mounts_of_a_privileged_container_stay_in_it(run_container: Run, host: facts.HostFacts, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    outcome = run_container(
        "sh", "-c", "mount -t tmpfs x /in && touch /in/file && ls /in", change=lambda spec: defaults.privileged_spec(host, spec),
        mounts=(Mount(destination="/in", type="bind", source=str(tmp_path / "shared"), options=("rbind",)),),
    )  # fmt: skip
    assert outcome.output == "file\n" and list((tmp_path / "shared").iterdir()) == []


def test_the_environment_of_the_daemon_does_not_leak(run_container: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIER_SECRET", "canary-7391")
    outcome = run_container("sh", "-c", "env; cat /proc/1/environ | tr '\\0' '\\n'")
    assert "canary-7391" not in outcome.output and "PIER" not in outcome.output


PROBE = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def nr(*args):
    ctypes.set_errno(0)
    result = libc.syscall(*[ctypes.c_long(a) for a in args])
    return "ok" if result >= 0 else os.strerror(ctypes.get_errno())
def sock(family):
    try:
        socket.socket(family, socket.SOCK_SEQPACKET if family == 38 else socket.SOCK_STREAM, 0)
        return "ok"
    except OSError as error:
        return error.strerror
for name, answer in (
    ("alg", sock(38)), ("vsock", sock(40)), ("unix", sock(1)), ("bpf", nr(321, 0, 0, 0)),
    ("io_uring", nr(425, 1, 0)), ("userfaultfd", nr(323, 0)),
    ("keyctl", nr(250, 0, -3, 0)), ("perf", nr(298, 0, 0, 0, 0, 0)), ("kexec", nr(246, 0, 0, 0, 0)), ("module", nr(175, 0, 0, 0)),
    ("clone3", nr(435, 0, 0)), ("personality", nr(135, 0x40000)), ("personality32", nr(135, 0xffffffff)), ("newer", nr(999)),
    ("unshare", nr(272, 0x10000000)), ("swapon", nr(167, 0, 0)), ("open_by_handle", nr(304, 0, 0, 0)), ("x32", nr(0x40000000 + 250, 0, 0)),
):
    print(name, "=", answer)
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86-64")
def test_system_calls_of_the_attack_surface_are_refused(run_container: Run, root: Path, busybox_root: Path) -> None:
    for name in ("lib", "lib64"):
        if os.path.islink("/" + name):
            (root / "lower" / name).symlink_to(os.readlink("/" + name))
    outcome = run_container(
        os.path.realpath(sys.executable), "-I", "-S", "-c", PROBE,
        mounts=tuple(Mount(destination=path, type="bind", source=path, options=("rbind", "ro")) for path in ("/usr", sys.base_prefix)),
    )  # fmt: skip
    found = dict(line.split(" = ") for line in outcome.output.splitlines())
    refused = "Operation not permitted"
    assert found == {
        "alg": refused, "vsock": refused, "unix": "ok", "bpf": refused, "io_uring": refused, "userfaultfd": refused, "keyctl": refused,
        "perf": refused, "kexec": refused, "module": refused, "clone3": "Function not implemented", "personality": refused,
        "personality32": "ok",
        "newer": "Function not implemented", "unshare": refused, "swapon": refused, "open_by_handle": refused, "x32": refused,
    }, outcome  # fmt: skip


def test_a_profile_of_ones_own_and_none(run_container: Run, host: facts.HostFacts) -> None:
    from pier.runtime import seccomp_profile

    own = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}
    resolved = seccomp_profile.resolve(own, (), host.machine, host.kernel)

    def change(spec: Spec) -> Spec:
        return msgspec.structs.replace(spec, linux=msgspec.structs.replace(spec.linux, seccomp=resolved))

    assert "No space left on device" in run_container("sh", "-c", "mkdir /tmp/x; true", change=change).output
    unconfined = run_container(
        "cat", "/proc/self/status", change=lambda spec: msgspec.structs.replace(spec, linux=msgspec.structs.replace(spec.linux, seccomp=None))
    )
    assert "Seccomp:\t0" in unconfined.output


def test_setuid_files_give_nothing_with_no_new_privileges(run_container: Run, root: Path, busybox_root: Path) -> None:
    (root / "lower/setuid").mkdir()
    (root / "lower/setuid/su").write_bytes((busybox_root / "bin/busybox").read_bytes())
    (root / "lower/setuid/su").chmod(0o4755)
    words = ("/setuid/su", "-c", "id")
    assert "must be suid" not in run_container(*words, user="1000").output  # it works, so the next line says something
    assert "must be suid" in run_container(*words, user="1000", change=lambda spec: process(spec, no_new_privileges=True)).output


SWAPPER = """
import os, sys
os.chdir(sys.argv[1])
while True:
    for old, new in (("target", "aside"), ("link", "target"), ("target", "link"), ("aside", "target")):
        try:
            os.rename(old, new)
        except OSError:
            pass  # the container made something in between
"""


def test_a_mount_target_that_a_sharing_container_swaps_while_starting(run_container: Run, tmp_path: Path) -> None:
    shared, canary, source = tmp_path / "shared", tmp_path / "canary", tmp_path / "source"
    for folder in (shared, canary, source, shared / "target"):
        folder.mkdir()
    (shared / "link").symlink_to(f"../../../../../../..{canary}")
    swapper = subprocess.Popen([sys.executable, "-I", "-c", SWAPPER, str(shared)], stderr=subprocess.DEVNULL)
    try:
        mounts = (
            Mount(destination="/vol", type="bind", source=str(shared), options=("rbind",)),
            Mount(destination="/vol/target/deep/er", type="bind", source=str(source), options=("bind",)),
        )
        outcomes = [run_container("true", mounts=mounts) for _ in range(6)]
    finally:
        swapper.kill()
        swapper.wait()
    assert list(canary.iterdir()) == []
    assert all(outcome.failed is None or outcome.failed["step"] == "bind" for outcome in outcomes), outcomes
