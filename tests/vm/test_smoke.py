"""The guest's verdicts as tests; one boot for all of them."""

import contextlib
import os
import shutil
from collections.abc import Iterator

import pytest

from .boot import Boot, boot
from .guest import NAMES, WHOLE

TOOLS = ("qemu-system-x86_64", "debootstrap", "apt-get", "mkfs.ext4", "depmod", "cpio", "modprobe", "dpkg-deb")
# bullseye: 5.10, unpacked layers; bookworm: 6.1, no EROFS from files; trixie: 6.12, layers are attached before they are used; sid: the newest
SUITES = os.environ.get("PIER_VM_SUITES", "bookworm").split()  # `make vm-test-all` has all of them
OPTIONS = (WHOLE,) if "PIER_VM_SUITES" in os.environ else ()


@contextlib.contextmanager
def machine() -> Iterator[None]:
    """Where a guest can be made and booted; else the tests are skipped."""
    if os.geteuid() != 0:
        pytest.skip("making the image needs root")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        pytest.skip(f"no {', '.join(missing)} on this machine")
    try:
        yield
    except RuntimeError as error:
        if any(word in str(error) for word in ("debootstrap", "apt-get", "pip")):
            pytest.skip(f"the packages cannot be had here: {error}")
        raise


@pytest.fixture(scope="module", params=SUITES)
def guest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boot]:
    with machine():
        yield boot(request.param, tmp_path_factory.mktemp(f"vm-{request.param}"), *OPTIONS)


def test_it_boots_and_comes_to_the_end(guest: Boot) -> None:
    assert guest.ended, f"the guest did not come to its end:\n{guest.log[-6000:]}"


@pytest.mark.parametrize("name", NAMES)
def test_smoke(guest: Boot, name: str) -> None:
    assert name in guest.verdicts, f"never tried:\n{guest.log[-4000:]}"
    assert not guest.verdicts[name], f"{guest.verdicts[name]}\n{guest.log[-8000:]}"
