#!/usr/bin/env python3
"""Writes busybox.tar: the image `busybox:latest`, made from Debian's package busybox-static, laid out like the well-known one.

    python3 make_busybox.py [--output busybox.tar] [--deb FILE.deb]
    pier load -i busybox.tar && pier run -it busybox sh

The program is taken from --deb, else from the installed package, else `apt-get download busybox-static` fetches it. Needs no root.
The same package gives the same bytes: the files carry the time of the program in the package.
"""

import argparse
import glob
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import oci_archive  # noqa: E402

INSTALLED = ("/bin/busybox", "/usr/bin/busybox")
PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
sync:x:4:100:sync:/bin:/bin/sync
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
SHADOW = "".join(f"{line.partition(':')[0]}:*:::::::\n" for line in PASSWD.splitlines())
GROUP = """root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
lp:x:7:
mail:x:8:
kmem:x:9:
wheel:x:10:root
cdrom:x:11:
dialout:x:18:
floppy:x:19:
video:x:28:
audio:x:29:
www-data:x:33:
operator:x:37:
staff:x:50:
plugdev:x:46:
users:x:100:
nogroup:x:65534:
"""
FOLDERS = {
    "bin": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "lib": 0o755, "proc": 0o755, "root": 0o700, "sys": 0o755, "tmp": 0o1777,
    "usr": 0o755, "usr/bin": 0o755, "usr/sbin": 0o755, "var": 0o755, "var/spool": 0o755, "var/spool/mail": 0o755, "var/www": 0o755,
}


def find_program(deb, scratch):
    """The path of a static busybox. Raises SystemExit where none can be had."""
    if not deb:
        owner = subprocess.run(["dpkg-query", "-W", "-f", "${Status}", "busybox-static"], capture_output=True, text=True, check=False).stdout
        installed = [path for path in INSTALLED if os.path.isfile(path)]
        if "install ok installed" in owner and installed:
            return installed[0]
        if not shutil.which("apt-get"):
            raise SystemExit("no busybox-static is installed and there is no apt-get: give its package with --deb")
        subprocess.run(["apt-get", "-q", "download", "busybox-static"], cwd=scratch, check=True)
        deb = glob.glob(os.path.join(scratch, "busybox-static_*.deb"))[0]
    tree = os.path.join(scratch, "tree")
    subprocess.run(["dpkg-deb", "-x", deb, tree], check=True)
    found = [path for path in (tree + name for name in INSTALLED) if os.path.isfile(path)]
    if not found:
        raise SystemExit(f"{deb} has no busybox in /bin or /usr/bin: it must be a package busybox-static")
    return found[0]


def main():
    """Write the archive and print its path and the image's ID."""
    parser = argparse.ArgumentParser(description="make a busybox image from Debian's busybox-static")
    parser.add_argument("--output", default="busybox.tar")
    parser.add_argument("--deb", default="")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        program = find_program(arguments.deb, scratch)
        with open(program, "rb") as file:
            data = file.read()
        if b"/ld-linux" in data[:4096]:
            raise SystemExit(f"{program} needs shared libraries: install busybox-static instead of busybox")
        applets = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
        epoch = int(os.stat(program).st_mtime)
        layer = oci_archive.Layer(os.path.join(scratch, "layer.tar"), epoch)
        for name, mode in sorted(FOLDERS.items()):
            layer.folder(name, mode)
        # The root of a container is the folder of its layers: entries for proc, sys and dev are places to mount on.
        layer.file("bin/busybox", data, 0o755)
        for applet in sorted(set(applets) - {"busybox"}):
            layer.hard_link(f"bin/{applet}", "bin/busybox")
        layer.file("etc/group", GROUP.encode())
        layer.file("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n")
        layer.file("etc/passwd", PASSWD.encode())
        layer.file("etc/shadow", SHADOW.encode(), 0o640)
        layer.symlink("usr/bin/env", "../../bin/env")
        layer.symlink("lib64", "lib")
        layer.close()
        config = {"Cmd": ["sh"], "Env": [oci_archive.PATH]}
        image = oci_archive.write(
            arguments.output, "busybox:latest", layer.path, config, oci_archive.host_architecture(), epoch, "made from Debian's busybox-static"
        )
    print(arguments.output, image)


if __name__ == "__main__":
    main()
