"""Makes what is booted, all from Debian's own packages, and keeps it in the user's cache (PIER_VM_CACHE):

    <suite>-<key>/
      root/            a minimal Debian: python3 with the project's locked dependencies, busybox, iproute2, apparmor
      base.img         the same as an ext4 disk
      vmlinuz, initrd  the suite's cloud kernel; an initramfs that finds the disks and goes to /pier/init

The project itself lies on a second disk that is made anew for each boot (project_disk).
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.harness import images

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = "python3,busybox-static,iproute2,kmod,apparmor,libnftables1,tini"
EARLY_MODULES = ("virtio_pci", "virtio_blk", "ext4")
FORMAT = 3  # of the cache: raise it when what is made changes

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /new
/bin/busybox mount -t proc proc /proc; /bin/busybox mount -t sysfs sys /sys; /bin/busybox mount -t devtmpfs dev /dev
while read -r module; do /bin/busybox insmod "$module"; done < /modules
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vdb ] && break; /bin/busybox sleep 0.3; done
/bin/busybox mount -t ext4 /dev/vda /new && /bin/busybox mount -t ext4 /dev/vdb /new/pier || {
    echo "VERDICT boot FAIL no disks"; /bin/busybox poweroff -f; }
/bin/busybox mount --move /dev /new/dev; /bin/busybox mount --move /proc /new/proc; /bin/busybox mount --move /sys /new/sys
exec /bin/busybox switch_root /new /pier/init
"""

START = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t tmpfs run /run; mount -t tmpfs tmp /tmp; mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup; mount -t securityfs securityfs /sys/kernel/security
echo 3 > /proc/sys/kernel/printk; ip link set lo up; hostname vm
modprobe loop  # what udev does by the static node /dev/loop-control
site=$(python3 -c 'import sys; print("/usr/local/lib/python%d.%d/dist-packages" % sys.version_info[:2])')
mkdir -p "$site"; printf '/pier/src\\n/opt/pier\\n' > "$site/pier.pth"
python3 /pier/tests/vm/guest.py > /dev/ttyS0 2>&1 < /dev/null
echo "VERDICT-END" > /dev/ttyS0
sync; busybox poweroff -f
"""


def run(*command: str | os.PathLike[str], cwd: Path | None = None) -> str:
    """stdout of a command; RuntimeError with all it said when it fails."""
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def cache() -> Path:
    """Where the images are kept."""
    return Path(os.environ.get("PIER_VM_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pier-vm")


def made(suite: str) -> Path:
    """The folder of a suite's image, made if it is not there (two minutes). Raises RuntimeError where packages cannot be had."""
    key = hashlib.sha256((ROOT / "requirements/run.txt").read_bytes() + f"{FORMAT}{PACKAGES}{INIT}".encode()).hexdigest()[:12]
    folder = cache() / f"{suite}-{key}"
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make_root(suite, folder / "root")
        make_kernel(folder)
        make_disk(folder / "base.img", folder / "root", megabytes=1400)
        shutil.rmtree(folder / "root")
        (folder / "done").touch()
    return folder


def in_root(root: Path, *command: str) -> str:
    """A command in a chroot with a /proc of its own, gone with its mount namespace."""
    script = 'mount -t proc proc "$1/proc"; r=$1; shift; exec chroot "$r" "$@"'
    words = ("env", "DEBIAN_FRONTEND=noninteractive", *command)
    return run("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", root, *words)


def make_root(suite: str, root: Path) -> None:
    """debootstrap from this machine's mirror (else its default), then the locked dependencies for that Python."""
    run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, root, *mirror())
    for proxy in Path("/etc/apt/apt.conf.d").glob("*proxy*"):
        shutil.copy(proxy, root / "etc/apt/apt.conf.d")
    version = in_root(root, "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    run(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--require-hashes", "--no-deps",
        "--only-binary=:all:", "--python-version", version, "--target", root / "opt/pier", "-r", ROOT / "requirements/run.txt")  # fmt: skip


def mirror() -> list[str]:
    """The Debian mirror that this machine's own apt uses, [] where it is no Debian."""
    if 'ID=debian' not in Path("/etc/os-release").read_text().splitlines():
        return []
    for path in (*Path("/etc/apt").glob("sources.list"), *Path("/etc/apt/sources.list.d").glob("*.sources")):
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] in (["deb"], ["URIs:"]) and (found := [w for w in words[1:] if w.rstrip("/").endswith("/debian")]):
                return [found[0]]
    return []


def make_kernel(folder: Path) -> None:
    """Unpack the suite's cloud kernel: modules into the root, the image and an initramfs beside it."""
    root = folder / "root"
    in_root(root, "apt-get", "update", "-qq")
    depends = in_root(root, "apt-cache", "depends", "linux-image-cloud-amd64")
    package = next(line.split()[-1] for line in depends.splitlines() if "Depends:" in line and "linux-image-" in line)
    in_root(root, "sh", "-c", f"cd /tmp && apt-get download -qq {package}")
    (deb,) = (root / "tmp").glob("linux-image-*.deb")
    run("dpkg-deb", "-x", deb, root / "tmp/kernel")
    deb.unlink()
    (image,) = (root / "tmp/kernel/boot").glob("vmlinuz-*")
    version = image.name.removeprefix("vmlinuz-")
    shutil.move(image, folder / "vmlinuz")
    (modules,) = root.glob("tmp/kernel/**/lib/modules" if not (root / "tmp/kernel/lib").exists() else "tmp/kernel/lib/modules")
    shutil.copytree(modules, root / "usr/lib/modules", symlinks=True, dirs_exist_ok=True)
    shutil.rmtree(root / "tmp/kernel")
    run("depmod", "-b", root, version)
    (root / "pier").mkdir(exist_ok=True)

    early = folder / "early"
    (early / "bin").mkdir(parents=True)
    shutil.copy(root / "bin/busybox", early / "bin/busybox")
    (early / "init").write_text(INIT)
    (early / "init").chmod(0o755)
    needed: list[str] = []
    for module in EARLY_MODULES:
        for line in run("modprobe", "-d", root, "-S", version, "--show-depends", module).splitlines():
            if line.startswith("insmod ") and (path := line.split()[1]) not in needed:
                needed.append(path)
    names = []
    for number, path in enumerate(needed):
        name = f"{number:02}-{Path(path).name}"
        shutil.copy(path, early / name)
        names.append(f"/{name}\n")
    (early / "modules").write_text("".join(names))
    run("sh", "-c", "find . | cpio -o -H newc --quiet | gzip -1 > ../initrd", cwd=early)
    shutil.rmtree(early)


def make_disk(path: Path, content: Path, megabytes: int) -> None:
    """An ext4 disk with the content of a folder; sparse."""
    path.unlink(missing_ok=True)
    run("mkfs.ext4", "-q", "-O", "^has_journal", "-d", content, path, f"{megabytes}M")


def project_disk(folder: Path) -> Path:
    """The second disk: the project's sources, the guest's part of the tests, a busybox image. Made in `folder`."""
    content = folder / "project"
    shutil.copytree(ROOT / "src", content / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for part in ("vm", "harness"):
        shutil.copytree(ROOT / "tests" / part, content / "tests" / part, ignore=shutil.ignore_patterns("__pycache__"))
    (content / "tests/__init__.py").touch()
    (content / "init").write_text(START)
    (content / "init").chmod(0o755)
    images.busybox_archive(content / "busybox.tar")
    disk = folder / "project.img"
    make_disk(disk, content, 64)
    return disk
