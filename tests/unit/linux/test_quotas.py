"""What is said where a file system has no project quotas."""

import os

import pytest

from pier.linux.quotas import Mount, cause, mount_of

MOUNTINFO = """22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 22 0:26 / /run rw - tmpfs tmpfs rw
41 22 8:17 /a\\040b /srv rw,relatime shared:3 master:1 - xfs /dev/sdb1 rw,prjquota
"""


def test_the_file_system_of_a_device() -> None:
    assert mount_of(os.makedev(254, 1), MOUNTINFO) == Mount("ext4", "/dev/vda1")
    assert mount_of(os.makedev(8, 17), MOUNTINFO) == Mount("xfs", "/dev/sdb1")
    assert mount_of(os.makedev(0, 99), MOUNTINFO) == Mount("unknown", "")


@pytest.mark.parametrize(
    ("mount", "counted", "words"),
    [
        (Mount("ext4", "/dev/vda1"), False, "/dev/vda1 (ext4) has no project quotas: unmount it, `tune2fs -O project,quota /dev/vda1`"),
        (Mount("ext4", "/dev/vda1"), True, "/dev/vda1 (ext4) is mounted without project quotas: mount it with the option prjquota"),
        (Mount("xfs", "/dev/sdb1"), False, "/dev/sdb1 (xfs) is mounted without project quotas: mount it with the option prjquota"),
        (Mount("btrfs", "/dev/sdb1"), False, "the file system btrfs has no project quotas: ext4 and xfs have"),
    ],
)
def test_each_cause_has_its_way_out(mount: Mount, counted: bool, words: str) -> None:
    assert cause(mount, counted=counted).startswith(words)
