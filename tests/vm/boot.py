"""Boots an image in qemu without KVM and reads its verdicts from the serial port."""

import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .image import base, kernel, project_disk

LIMIT_S = 900  # a quiet machine needs less than two minutes
VERDICT = re.compile(r"^VERDICT (\S+) (ok|FAIL)(?: (.*))?\r?$", re.M)


@dataclass(frozen=True)
class Boot:
    """The verdict of each guest test ("" = ok, else the reason), and all that the serial port said."""

    verdicts: dict[str, str]
    log: str
    ended: bool


def boot(
    suite: str, folder: Path, *kernel_options: str, security: str = "apparmor=1 security=apparmor", disks: Sequence[Path] = (),
    cut: Callable[[str], bool] | None = None,
) -> Boot:  # fmt: skip
    """Boot the suite's kernel with the project, wait for the end of the guest's tests; `folder` gets the log and the second disk.

    security: the kernel's options about its security module. disks: further ones, which keep what is written (/dev/vdd and on). cut: the power is cut
    when it is true of what the serial port has said.
    """
    disk, found, log = base(), kernel(suite), folder / "serial.log"
    argv = [
        "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-smp", "2", "-cpu", "max,cx16=off", "-m", "1536", "-display", "none", "-no-reboot",
        "-nic", "none", "-serial", f"file:{log}", "-kernel", str(found / "vmlinuz"), "-initrd", str(found / "initrd"),
        "-append", " ".join(("console=ttyS0", "panic=-1", "quiet", "mitigations=off", security, *kernel_options)),
        "-drive", f"if=virtio,format=raw,snapshot=on,file={disk}", "-drive", f"if=virtio,format=raw,file={project_disk(folder)}",
        "-drive", f"if=virtio,format=raw,snapshot=on,file={found / 'modules.img'}",
        *(word for path in disks for word in ("-drive", f"if=virtio,format=raw,file={path}")),
    ]  # fmt: skip
    end = time.monotonic() + LIMIT_S  # the log says how far it came
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as machine:
        try:
            while machine.poll() is None and time.monotonic() < end and not (cut and cut(said(log))):
                time.sleep(0.1)
        finally:
            machine.kill()
    text = said(log)
    verdicts = {name: "" if verdict == "ok" else reason or "failed" for name, verdict, reason in VERDICT.findall(text)}
    return Boot(verdicts, text, "VERDICT-END" in text)


def said(log: Path) -> str:
    """What came out of the serial port so far."""
    return log.read_text(errors="replace") if log.exists() else ""
