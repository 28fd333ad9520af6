"""The program that `--init` puts in front of a container's command."""

import os

NAMES = ("tini-static", "catatonit", "tini", "docker-init")
_FOLDERS = ("/usr/libexec/pier", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/libexec/docker", "/usr/libexec/podman")


def find_init(configured: str = "") -> str:
    """The configured path, else that of the first of tini and catatonit that this host has; empty where it has none.

    Static builds first: the program is bound into containers that may have no C library of its kind.
    """
    if configured:
        return configured
    for name in NAMES:
        for folder in _FOLDERS:
            path = f"{folder}/{name}"
            if os.access(path, os.X_OK) and os.path.isfile(path):
                return path
    return ""
