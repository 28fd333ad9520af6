"""Whether the kernel labels files by SELinux (selinux(8)): what `z` and `Z` of a bind are about."""

import os


def enabled(root: str = "/sys/fs/selinux") -> bool:
    """Whether SELinux is on, enforcing or not: its file system is there with what says so. root: where it is mounted, for tests."""
    return os.path.exists(os.path.join(root, "enforce"))
