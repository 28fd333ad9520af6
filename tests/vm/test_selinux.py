"""SELinux labels, enforced: the verdicts of a guest of its own, since a kernel has one such security module at once. A minute, on a quiet machine."""

import os
from collections.abc import Iterator

import pytest

from .boot import Boot, boot
from .guest_selinux import NAMES
from .test_smoke import machine

pytestmark = pytest.mark.skipif("PIER_VM_SUITES" not in os.environ, reason="a boot of its own: make vm-test-all")


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boot]:
    with machine():
        yield boot("bookworm", tmp_path_factory.mktemp("vm-selinux"), "pier.guest=selinux", security="security=selinux selinux=1")


def test_it_comes_to_the_end(guest: Boot) -> None:
    assert guest.ended, f"the guest did not come to its end:\n{guest.log[-6000:]}"


@pytest.mark.parametrize("name", NAMES)
def test_labels(guest: Boot, name: str) -> None:
    assert name in guest.verdicts, f"never tried:\n{guest.log[-4000:]}"
    assert not guest.verdicts[name], f"{guest.verdicts[name]}\n{guest.log[-8000:]}"
