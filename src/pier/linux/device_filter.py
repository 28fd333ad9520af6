"""Device access of a cgroup v2: a BPF program of type CGROUP_DEVICE, made from rules like those of the v1 devices controller.

The last rule that matches decides; what no rule matches is refused. Source: linux/bpf.h, struct bpf_cgroup_dev_ctx.
"""

import ctypes
import os
import struct
from typing import NamedTuple

from pier.linux.syscalls import call

_PROG_LOAD, _PROG_ATTACH, _TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI = 5, 8, 15, 6, 2
_ACCESS = {"m": 1, "r": 2, "w": 4}
_KIND = {"b": 1, "c": 2}
# eBPF: loads of 32 bits, moves, conditional jumps (BPF_JMP32 where the kind matters not), exit
_LDXW, _MOV_X, _MOV_K, _AND_K, _RSH_K, _EXIT = 0x61, 0xBF, 0xB7, 0x57, 0x77, 0x95
_JA, _JNE_K, _JSET_K = 0x05, 0x55, 0x45


class DeviceRule(NamedTuple):
    """`kind` is "a" (all), "b" or "c"; `major` and `minor` None for any; `access` letters of "rwm"."""

    allow: bool
    kind: str = "a"
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"

    def v1(self) -> str:
        """The rule as devices.allow and devices.deny take it."""
        if self.kind == "a" and self.major is None and self.minor is None and set(self.access) == set("rwm"):
            return "a"
        return f"{self.kind} {'*' if self.major is None else self.major}:{'*' if self.minor is None else self.minor} {self.access}"


def _op(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", code, src << 4 | dst, off, imm)


def compile_filter(rules: tuple[DeviceRule, ...]) -> bytes:
    """The program of the rules; pure. Raises KeyError for an unknown kind or access letter."""
    program = [
        _op(_LDXW, 2, 1, 0),  # r2 = access << 16 | kind
        _op(_MOV_X, 3, 2),
        _op(_RSH_K, 3, 0, 0, 16),  # r3 = access
        _op(_AND_K, 2, 0, 0, 0xFFFF),  # r2 = kind
        _op(_LDXW, 4, 1, 4),  # r4 = major
        _op(_LDXW, 5, 1, 8),  # r5 = minor
    ]
    for rule in reversed(rules):
        bits = sum(_ACCESS[letter] for letter in set(rule.access))
        tests: list[tuple[int, int, int]] = []  # (code, register, immediate): a jump past the rule
        if rule.kind != "a":
            tests.append((_JNE_K, 2, _KIND[rule.kind]))
        if rule.major is not None:
            tests.append((_JNE_K, 4, rule.major))
        if rule.minor is not None:
            tests.append((_JNE_K, 5, rule.minor))
        if rule.allow:
            # An allowing rule must cover all that is asked: any bit outside of it is a jump past.
            tests.append((_JSET_K, 3, ~bits & 7))
            body = [_op(code, reg, 0, len(tests) - at + 1, imm) for at, (code, reg, imm) in enumerate(tests)]
        else:
            # A refusing rule matches where one bit that is asked is in it.
            body = [_op(code, reg, 0, len(tests) - at + 3, imm) for at, (code, reg, imm) in enumerate(tests)]
            body += [_op(_JSET_K, 3, 0, 1, bits), _op(_JA, 0, 0, 2)]
        program += [*body, _op(_MOV_K, 0, 0, 0, int(rule.allow)), _op(_EXIT)]
    return b"".join([*program, _op(_MOV_K, 0, 0, 0, 0), _op(_EXIT)])


def load(program: bytes) -> int:
    """Give the kernel the program; a close-on-exec descriptor of it. Raises OSError (EPERM: no CAP_BPF; EINVAL: refused by the verifier)."""
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    buffer = ctypes.create_string_buffer(program, len(program))
    words = struct.pack("<IIQQ", _TYPE_CGROUP_DEVICE, len(program) // 8, ctypes.addressof(buffer), ctypes.addressof(licence))
    attributes = ctypes.create_string_buffer(words + bytes(48))
    return call("bpf", _PROG_LOAD, attributes, 72)


def attach(cgroup_fd: int, program_fd: int) -> None:
    """Put the program on the cgroup (an open folder); more than one may be there, and all must agree. Raises OSError."""
    words = struct.pack("<IIII", cgroup_fd, program_fd, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI)
    call("bpf", _PROG_ATTACH, ctypes.create_string_buffer(words), len(words))


def apply(cgroup: str, rules: tuple[DeviceRule, ...]) -> None:
    """Restrict the cgroup v2 folder to the rules. Raises OSError."""
    program_fd = load(compile_filter(rules))
    try:
        cgroup_fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            attach(cgroup_fd, program_fd)
        finally:
            os.close(cgroup_fd)
    finally:
        os.close(program_fd)
