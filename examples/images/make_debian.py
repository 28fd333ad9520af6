#!/usr/bin/env python3
"""Writes debian.tar: the image `debian:latest`, a minimal Debian made by debootstrap. Needs root, some minutes' patience and 500 MB in /tmp.

    sudo python3 make_debian.py [--suite SUITE] [--mirror URL] [--output debian.tar] [--tree FOLDER]
    pier load -i debian.tar && pier run --rm -it debian bash

Suite and mirror are those of this machine, where it is a Debian. --tree takes a tree that is there already instead of making one.
What differs from one making to the next is left out (caches, logs, the machine's ID) and no file is younger than the newest package, so that
the same packages give the same bytes.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import oci_archive  # noqa: E402

# Emptied, the folders themselves stay. `*.pyc` and ldconfig's cache are made again when they are needed.
LEFT_OUT = re.compile(
    r"var/cache/apt/.*|var/lib/apt/lists/.*|var/log/.*|var/cache/ldconfig/aux-cache|var/cache/debconf/.*-old|var/lib/dpkg/.*-old"
    r"|tmp/.*|run/.*|proc/.*|sys/.*|dev/.*|etc/resolv\.conf|etc/hostname|debootstrap(/.*)?|.*\.pyc|.*\.dpkg-new"
)
# A package's scripts must not start services in a container, and dpkg need not fsync: a container's layer is thrown away or committed whole.
POLICY = b"#!/bin/sh\n\n# Services are not started by installing them.\nexit 101\n"
SPEEDUP = b"force-unsafe-io\n"
CLEAN = b"""# The packages that were installed are of no more use in an image.
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
"""


def host_suite():
    """(suite, mirror) of this machine, empty texts where it is no Debian."""
    suite = ""
    with open("/etc/os-release", encoding="utf-8") as file:
        release = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
    if release.get("ID", "").strip('"') == "debian":
        suite = release.get("VERSION_CODENAME", "").strip('"')
    known = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(SITE)", "Identifier: Packages"], capture_output=True, text=True, check=False
    ).stdout
    mirrors = [line.split(" ", 1)[1].rstrip("/") for line in known.splitlines() if line.startswith(f"{suite} ")]
    return suite, mirrors[0] if mirrors else ""


def bootstrap(suite, mirror, tree):
    """Make the tree. Raises SystemExit where a tool is missing."""
    if os.geteuid():
        raise SystemExit("debootstrap needs root: run this with sudo")
    if not shutil.which("debootstrap"):
        raise SystemExit("there is no debootstrap: apt-get install debootstrap")
    if not suite:
        raise SystemExit("this machine is no Debian: say which one to make with --suite (and --mirror)")
    subprocess.run(["debootstrap", "--variant=minbase", suite, tree, *([mirror] if mirror else [])], check=True)


def newest(tree):
    """The time of the newest change among the packages, s since 1970: what no file is to be younger than."""
    times = []
    documents = os.path.join(tree, "usr/share/doc")
    for package in os.listdir(documents):
        for name in ("changelog.Debian.gz", "changelog.gz", "changelog.Debian.amd64.gz", "copyright"):
            path = os.path.join(documents, package, name)
            if os.path.isfile(path) and not os.path.islink(path):
                times.append(int(os.stat(path).st_mtime))
    return max(times)


def main():
    """Write the archive and print its path and the image's ID."""
    parser = argparse.ArgumentParser(description="make a minimal Debian image")
    suite, mirror = host_suite()
    parser.add_argument("--suite", default=suite)
    parser.add_argument("--mirror", default=mirror)
    parser.add_argument("--output", default="debian.tar")
    parser.add_argument("--tree", default="")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        tree = arguments.tree or os.path.join(scratch, "tree")
        if not arguments.tree:
            bootstrap(arguments.suite, arguments.mirror, tree)
        epoch = newest(tree)
        own = {
            "usr/sbin/policy-rc.d": (POLICY, 0o755),
            "etc/dpkg/dpkg.cfg.d/docker-apt-speedup": (SPEEDUP, 0o644),
            "etc/apt/apt.conf.d/docker-clean": (CLEAN, 0o644),
            "etc/machine-id": (b"", 0o444),
        }
        layer = oci_archive.Layer(os.path.join(scratch, "layer.tar"), epoch)
        layer.tree(tree, skip=lambda name: name in own or LEFT_OUT.fullmatch(name) is not None)
        for name, (data, mode) in sorted(own.items()):
            layer.file(name, data, mode)
        layer.close()
        config = {"Cmd": ["bash"], "Env": [oci_archive.PATH]}
        image = oci_archive.write(
            arguments.output, "debian:latest", layer.path, config, oci_archive.host_architecture(), epoch, f"debootstrap minbase {arguments.suite}"
        )
    print(arguments.output, image)


if __name__ == "__main__":
    main()
