"""Makes what is booted, all from Debian's own packages, and keeps it in the user's cache (PIER_VM_CACHE):

    base-<key>/base.img         a minimal Debian, one for all kernels: python3 with the project's locked dependencies, busybox, iproute2,
                                apparmor; an ext4 disk that is ready for project quotas
    <suite>-<key>/              the cloud kernel of a Debian suite
      vmlinuz, initrd           an initramfs that finds the disks and goes to /pier/init
      modules.img               its modules, as an ext4 disk

The project itself lies on a disk that is made anew for each boot (project_disk).
"""

import compileall
import hashlib
import lzma
import os
import py_compile
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from tests.harness import images

ROOT = Path(__file__).resolve().parents[2]
USERLAND = "bookworm"  # whatever the kernel: Pier needs Python 3.11
PACKAGES = "python3,busybox-static,iproute2,kmod,apparmor,libnftables1,tini,xfsprogs,secilc"  # secilc: compiles the policy of guest_selinux
EARLY_MODULES = ("virtio_pci", "virtio_blk", "ext4", "quota_v2")
PYTEST = ("pytest", "pluggy", "iniconfig", "packaging", "pygments")  # pure Python: this machine's serve the guest, too
FORMAT = 4  # of the cache: raise it when what is made changes

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /new
/bin/busybox mount -t proc proc /proc; /bin/busybox mount -t sysfs sys /sys; /bin/busybox mount -t devtmpfs dev /dev
while read -r module; do /bin/busybox insmod "$module"; done < /modules
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vdc ] && break; /bin/busybox sleep 0.3; done
/bin/busybox mount -t ext4 -o prjquota /dev/vda /new && /bin/busybox mount -t ext4 /dev/vdb /new/pier &&
    /bin/busybox mount -t ext4 -o ro /dev/vdc /new/usr/lib/modules || {
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
mkdir -p "$site"; printf '/pier/src\\n/pier/site\\n/opt/pier\\n' > "$site/pier.pth"
case "$(cat /proc/cmdline)" in *pier.guest=selinux*) guest=guest_selinux ;; *pier.guest=power*) guest=guest_power ;; *) guest=guest ;; esac
python3 /pier/tests/vm/$guest.py > /dev/ttyS0 2>&1 < /dev/null
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


def _folder(name: str, *made_of: str) -> tuple[Path, bool]:
    """A folder of the cache for something of these parts, and whether it is made already; else it is empty."""
    folder = cache() / f"{name}-{hashlib.sha256(repr((FORMAT, made_of)).encode()).hexdigest()[:12]}"
    done = (folder / "done").exists()
    if not done:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    return folder, done


def base() -> Path:
    """The userland's disk, made if it is not there (two minutes). Raises RuntimeError where packages cannot be had."""
    folder, done = _folder("base", (ROOT / "requirements/run.txt").read_text(), PACKAGES, USERLAND)
    if not done:
        make_root(folder / "root")
        make_disk(folder / "base.img", folder / "root", 1400, "quota,project")
        shutil.rmtree(folder / "root")
        (folder / "done").touch()
    return folder / "base.img"


def make_root(root: Path) -> None:
    """debootstrap from this machine's mirror (else its default), then the locked dependencies for that Python."""
    # Its mounts are its own: an engine of another test that begins now would keep a copy of them.
    run("unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={PACKAGES}", USERLAND, root, *mirror())
    for folder in ("pier", "usr/lib/modules"):
        (root / folder).mkdir(exist_ok=True)
    version = run("chroot", root, "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    run(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--require-hashes", "--no-deps",
        "--only-binary=:all:", "--python-version", version, "--target", root / "opt/pier", "-r", ROOT / "requirements/run.txt")  # fmt: skip
    run("chroot", root, "python3", "-m", "compileall", "-q", "/opt/pier")
    for unused in ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(root / unused, ignore_errors=True)


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


def kernel(suite: str) -> Path:
    """The folder of a suite's kernel, made if it is not there. Raises RuntimeError where packages cannot be had."""
    folder, done = _folder(suite, INIT, *EARLY_MODULES)
    if not done:
        root = folder / "root"
        for package in download(suite, folder / "apt"):
            run("dpkg-deb", "-x", package, root)
        shutil.rmtree(folder / "apt")
        if (root / "lib").is_dir() and not (root / "lib").is_symlink():  # before trixie
            shutil.copytree(root / "lib", root / "usr/lib", symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(root / "lib")
        (root / "lib").unlink(missing_ok=True)
        (root / "lib").symlink_to("usr/lib")
        (modules,) = (root / "usr/lib/modules").iterdir()
        version = modules.name
        image = next(path for path in (root / f"boot/vmlinuz-{version}", modules / "vmlinuz") if path.exists())
        shutil.move(image, folder / "vmlinuz")
        run("depmod", "-b", root, version)
        make_initramfs(folder, root, version)
        make_disk(folder / "modules.img", root / "usr/lib/modules", 400)
        shutil.rmtree(root)
        (folder / "done").touch()
    return folder


def download(suite: str, folder: Path) -> list[Path]:
    """The packages of a suite's cloud kernel, got by an apt with sources and lists of its own."""
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    source = (mirror() or [default_mirror()])[0]
    (folder / "sources").write_text(f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {source} {suite} main\n")
    (folder / "status").touch()
    places = {"Etc::SourceList": "sources", "Etc::SourceParts": "none", "State::Lists": "lists", "State::status": "status", "Cache": "cache"}
    options = [word for key, place in places.items() for word in ("-o", f"Dir::{key}={folder / place}")]
    run("apt-get", *options, "-o", "Acquire::Languages=none", "update", "-qq")
    names = ["linux-image-cloud-amd64"]
    for name in names:  # grows on the way: the newest is several packages
        lines = run("apt-cache", *options, "depends", name).splitlines()
        depends = [line.split()[-1] for line in lines if line.strip().startswith("Depends: linux-")]
        names += [other for other in depends if other not in (*names, "linux-base")]
        if name != names[0]:
            run("apt-get", *options, "download", "-qq", name, cwd=folder)
    found = sorted(folder.glob("*.deb"))
    if not found:
        raise RuntimeError(f"apt-get: no cloud kernel in {suite}")
    return found


def default_mirror() -> str:
    """The mirror that debootstrap takes where it is told none."""
    script = Path("/usr/share/debootstrap/scripts/sid").read_text()
    return next(line.split()[1] for line in script.splitlines() if line.strip().startswith("default_mirror "))


def make_initramfs(folder: Path, root: Path, version: str) -> None:
    """busybox of this machine, and the modules that the disks need, unpacked and in their order."""
    early = folder / "early"
    (early / "bin").mkdir(parents=True)
    shutil.copy(images.busybox(), early / "bin/busybox")
    (early / "init").write_text(INIT)
    (early / "init").chmod(0o755)
    needed: list[Path] = []
    for module in EARLY_MODULES:
        for line in run("modprobe", "-d", root, "-S", version, "--show-depends", module).splitlines():
            if line.startswith("insmod ") and (path := Path(line.split()[1])) not in needed:
                needed.append(path)
    names = [f"{number:02}-{path.name.removesuffix('.xz')}" for number, path in enumerate(needed)]
    for path, name in zip(needed, names, strict=True):
        (early / name).write_bytes(lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes())
    (early / "modules").write_text("".join(f"/{name}\n" for name in names))
    run("sh", "-c", "find . | cpio -o -H newc --quiet | gzip -1 > ../initrd", cwd=early)
    shutil.rmtree(early)


def make_disk(path: Path, content: Path, megabytes: int, features: str = "") -> None:
    """An ext4 disk with the content of a folder; sparse."""
    path.unlink(missing_ok=True)
    run("mkfs.ext4", "-q", "-O", ",".join(filter(None, ("^has_journal", features))), "-d", content, path, f"{megabytes}M")


def project_disk(folder: Path) -> Path:
    """The disk with the project's sources and tests, pytest, a busybox image. Made in `folder`."""
    content = folder / "project"
    left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", content / "src", ignore=left_out)
    for part in ("vm", "harness", "contract", "engine"):
        shutil.copytree(ROOT / "tests" / part, content / "tests" / part, ignore=left_out)
    for name in ("__init__.py", "conftest.py"):
        shutil.copy(ROOT / "tests" / name, content / "tests" / name)
    shutil.copy(ROOT / "pyproject.toml", content)
    for name in PYTEST:
        for file in metadata.files(name) or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                target = content / "site" / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target)
    # read as they are where this machine's Python is the guest's; compiling them there takes half a minute
    compileall.compile_dir(content, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH, workers=1)
    (content / "init").write_text(START)
    (content / "init").chmod(0o755)
    images.busybox_archive(content / "busybox.tar")
    disk = folder / "project.img"
    make_disk(disk, content, 96)
    return disk
