"""Boots an image in qemu without KVM and reads its verdicts from the serial port."""

import re
import subprocess
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


def boot(suite: str, folder: Path, *kernel_options: str, security: str = "apparmor=1 security=apparmor") -> Boot:
    """Boot the suite's kernel with the project, wait for the end of the guest's tests; `folder` gets the log and the second disk.

    security: the kernel's options about its security module.
    """
    disk, found, log = base(), kernel(suite), folder / "serial.log"
    argv = [
        "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-smp", "2", "-cpu", "max,cx16=off", "-m", "1536", "-display", "none", "-no-reboot",
        "-nic", "none", "-serial", f"file:{log}", "-kernel", str(found / "vmlinuz"), "-initrd", str(found / "initrd"),
        "-append", " ".join(("console=ttyS0", "panic=-1", "quiet", "mitigations=off", security, *kernel_options)),
        "-drive", f"if=virtio,format=raw,snapshot=on,file={disk}", "-drive", f"if=virtio,format=raw,file={project_disk(folder)}",
        "-drive", f"if=virtio,format=raw,snapshot=on,file={found / 'modules.img'}",
    ]  # fmt: skip
    try:
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        pass  # the log says how far it came
    text = log.read_text(errors="replace") if log.exists() else ""
    verdicts = {name: "" if verdict == "ok" else reason or "failed" for name, verdict, reason in VERDICT.findall(text)}
    return Boot(verdicts, text, "VERDICT-END" in text)
