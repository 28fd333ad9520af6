"""SELinux labels, run by the guest's own Python as root under a policy of the tests' own (policy.cil) that is enforced: one verdict a line."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, "/pier")

from tests.harness.commands import eventually
from tests.vm import guest
from tests.vm.guest import api, background, pier, same, sh

SELINUX = Path("/sys/fs/selinux")
CONTEXTS = 'process = "system_u:system_r:container_t:s0"\nfile = "system_u:object_r:container_file_t:s0"\n'
HOST_FILE = "system_u:object_r:host_file_t:s0"
SHARED = "system_u:object_r:container_file_t:s0"
UNCONFINED = "system_u:object_r:container_file_t:s0:c1022,c1023"
CURRENT = "cat /proc/self/attr/current"


def load_policy() -> None:
    """Compile and load it; what runs already is the engine."""
    subprocess.run(["mount", "-t", "selinuxfs", "selinuxfs", SELINUX], check=True)
    names = [f"c{number}" for number in range(1024)]
    categories = "".join(f"(category {name})" for name in names) + f"(categoryorder ({' '.join(names)}))"
    Path("/tmp/categories.cil").write_text(categories)
    subprocess.run(["secilc", "-o", "/tmp/policy", "-f", "/dev/null", "/pier/tests/vm/policy.cil", "/tmp/categories.cil"], check=True)
    fd = os.open(SELINUX / "load", os.O_WRONLY)
    os.write(fd, Path("/tmp/policy").read_bytes())
    os.close(fd)
    (SELINUX / "enforce").write_text("1")
    same((SELINUX / "enforce").read_text(), "1")
    contexts = Path("/usr/share/containers/selinux/contexts")
    contexts.parent.mkdir(parents=True)
    contexts.write_text(CONTEXTS)


def label(path: str | Path) -> str:
    """Of a file, of a link itself."""
    return os.getxattr(path, "security.selinux", follow_symlinks=False).rstrip(b"\0").decode()


def process_label(pid: int) -> str:
    return Path(f"/proc/{pid}/attr/current").read_text().rstrip("\0\n")


def labels(container: str) -> tuple[str, str]:
    """ProcessLabel and MountLabel, as inspect has them."""
    found = api.get(f"/containers/{container}/json")
    return found["ProcessLabel"], found["MountLabel"]


def inside(container: str, path: str) -> str:
    return label(f"/proc/{guest.state(container)['Pid']}/root{path}")


def test_daemon_starts() -> None:
    load_policy()
    guest.start_daemon("--selinux-enabled")
    assert "name=selinux" in api.get("/info")["SecurityOptions"]
    pier("load", "-i", "/pier/busybox.tar").ok()


def test_labels() -> None:
    first = background("--name", "first", "--ipc", "shareable", "-i", "--tmpfs", "/ram", "busybox", "sh", "-c", f"{CURRENT}; exec sleep 600")
    process, mount = labels(first)
    level = process.partition("container_t:")[2]
    same((process, mount), (f"system_u:system_r:container_t:{level}", f"system_u:object_r:container_file_t:{level}"))
    assert level.startswith("s0:c") and level.count(",c") == 1, level
    eventually(lambda: pier("logs", first).ok().out.rstrip("\0\n") == process, guest.LIMIT_S, "its program has its label, and may write its output")
    same(process_label(guest.state(first)["Pid"]), process)
    same(pier("exec", first, *CURRENT.split()).ok().line.rstrip("\0"), process)
    for path in ("/", "/bin/busybox", "/dev", "/dev/null", "/dev/pts", "/dev/shm", "/dev/mqueue", "/ram"):
        same((path, inside(first, path)), (path, mount))
    for path in ("/etc/hosts", "/etc/resolv.conf"):
        same((path, inside(first, path)), (path, SHARED))
    pier("exec", first, "sh", "-ec", "touch /x /ram/x /dev/shm/x; cat /etc/hosts; echo > /dev/null").ok()
    same(pier("exec", "-i", first, "cat", stdin=b"in").ok().out, "in")
    same(labels(background("--name", "second", "--ipc", "container:first", "busybox", "sleep", "600")), (process, mount))
    other, _ = labels(background("--name", "third", "busybox", "sleep", "600"))
    assert other != process and other.startswith("system_u:system_r:container_t:s0:c"), other


def test_folders_of_the_host() -> None:
    """`Z` is one container's, `z` everybody's, and no link leads the labels out."""
    folder, outside = Path("/srv/own"), Path("/srv/outside")
    (folder / "deep").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (folder / "deep/file").write_text("mine")
    (folder / "link").symlink_to("/srv/outside/secret")
    (folder / "out").symlink_to("/srv/outside")
    own = background("--name", "own", "-v", "/srv/own:/d:Z", "busybox", "sleep", "600")
    mount = labels(own)[1]
    for path in (folder, folder / "deep", folder / "deep/file", folder / "link", folder / "out"):
        same((str(path), label(path)), (str(path), mount))
    same((label(outside), label(outside / "secret")), (HOST_FILE, HOST_FILE))
    same(pier("exec", own, "cat", "/d/deep/file").ok().out, "mine")
    pier("exec", own, "touch", "/d/new").ok()
    for place in ("/srv/own:/d", "/srv/outside:/d"):
        assert "Permission denied" in sh("ls /d 2>&1; true", "-v", place), place
    same(sh("cat /d/deep/file", "-v", "/srv/own:/d:z"), "mine")
    same((label(folder / "deep/file"), label(folder / "new")), (SHARED, SHARED))
    same(pier("exec", own, "cat", "/d/deep/file").ok().out, "mine")


def test_folders_that_stay_the_hosts() -> None:
    before = label("/etc"), label("/etc/passwd")
    pier("run", "--rm", "-v", "/etc:/x:z", "busybox", "true").fails(125, "SELinux relabeling of /etc is not allowed")
    Path("/srv/to-etc").symlink_to("/etc")
    pier("run", "--rm", "-v", "/srv/to-etc:/x:Z", "busybox", "true").fails(125, "SELinux relabeling of /etc is not allowed")
    pier("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/etc", "bound").ok()
    pier("run", "--rm", "-v", "bound:/x", "busybox", "true").fails(125, "SELinux relabeling of /etc is not allowed")
    pier("run", "--rm", "-v", "/usr/bin:/x:z", "busybox", "true").fails(125, "SELinux relabeling of /bin is not allowed")
    same((label("/etc"), label("/etc/passwd"), label("/usr/bin")), (*before, HOST_FILE))


def test_volumes() -> None:
    """Every container's, what was copied from the image too, unless `Z` says otherwise."""
    sh("touch /bin/new", "-v", "vol:/bin")
    files = Path(api.get("/volumes/vol")["Mountpoint"])
    same([label(path) for path in (files, files / "sh", files / "new")], [SHARED] * 3)
    assert "new" in sh("ls /d", "-v", "vol:/d")
    pier("update", "--mount-add", "type=volume,src=more,dst=/more", "--mount-add", "type=tmpfs,dst=/ram2", "third").ok()
    same((inside("third", "/more"), inside("third", "/ram2")), (SHARED, labels("third")[1]))
    pier("exec", "third", "touch", "/more/x", "/ram2/x").ok()


def test_options() -> None:
    def asked(*options: str) -> list[str]:
        container = pier("create", *options, "busybox", *CURRENT.split()).ok().line
        current = pier("start", "-a", container).ok().out.rstrip("\0\n")
        return [*labels(container), current]

    for options in (("--security-opt", "label=disable"), ("--privileged",), ("--pid", "host"), ("--ipc", "host")):
        same((options, asked(*options)), (options, ["", UNCONFINED, process_label(1)]))
    other = "system_u:system_r:other_t:s0:c5,c7"
    mount = "system_u:object_r:container_file_t:s0:c5,c7"
    same(asked("--security-opt", "label=type:other_t", "--security-opt", "label:level:s0:c5,c7"), [other, mount, other])
    pier("create", "--security-opt", "label=type:nobody_t", "busybox").fails(1, "has no context system_u:system_r:nobody_t:")
    pier("create", "--security-opt", "label=colour:red", "busybox").fails(1, "valid options 'disable, user, role, level, type, filetype'")


def test_daemon_killed() -> None:
    """Labels are in the records: they stay, and so does what is taken by them."""
    before = {name: labels(name) for name in ("first", "third", "own")}
    guest.daemon.kill()
    guest.daemon.wait()
    guest.start_daemon("--selinux-enabled")
    same({name: labels(name) for name in before}, before)
    same(pier("exec", "first", *CURRENT.split()).ok().line.rstrip("\0"), before["first"][0])


TESTS: list[Callable[[], None]] = [
    test_daemon_starts, test_labels, test_folders_of_the_host, test_folders_that_stay_the_hosts, test_volumes, test_options, test_daemon_killed,
]  # fmt: skip
NAMES = [test.__name__.removeprefix("test_") for test in TESTS]

if __name__ == "__main__":
    guest.main(TESTS)
    subprocess.run(["dmesg"], stdout=sys.stdout, check=False)
