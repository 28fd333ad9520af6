"""The compiler, against an interpreter of classic BPF and the plain meaning of the rules."""

import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pier.linux import seccomp
from pier.linux.seccomp import ALLOW, ERRNO, KILL_THREAD, Condition, Filter, Rule
from pier.linux.syscall_table import X32_BIT, numbers

ARCHITECTURES = ("x86_64", "i386", "x32")


def interpret(program: bytes, number: int, arch: int, args: tuple[int, ...] = (0,) * 6) -> int:
    """What the kernel does with the program on struct seccomp_data."""
    data = struct.pack("<iIQ6Q", number if number < 1 << 31 else number - (1 << 32), arch, 0, *args)
    instructions = list(struct.iter_unpack("<HBBI", program))
    at = accumulator = 0
    while True:
        code, true, false, k = instructions[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif code == 0x54:
            accumulator &= k
        elif code == 0x06:
            return int(k)
        elif code == 0x05:
            at += k
        else:
            holds = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k}[code]
            at += true if holds else false


def holds(condition: Condition, args: tuple[int, ...]) -> bool:
    """The condition's meaning."""
    argument, value = args[condition.argument], condition.value
    return {
        "EQ": argument == value,
        "NE": argument != value,
        "LT": argument < value,
        "LE": argument <= value,
        "GT": argument > value,
        "GE": argument >= value,
        "MASKED_EQ": argument & value == condition.value_two,
    }[condition.op]


words = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1), st.sampled_from([2**32 - 1, 2**32, 2**32 + 1, 2**63]))
conditions = st.builds(Condition, st.integers(0, 5), st.sampled_from(sorted(seccomp.OPERATORS)), words, words)
names = st.sampled_from(["read", "write", "openat", "clone", "keyctl", "socket", "statx", "mseal"])
actions = st.sampled_from([ALLOW, ERRNO | 1, ERRNO | 38, KILL_THREAD])
rules = st.builds(Rule, st.lists(names, min_size=1, max_size=4).map(tuple), actions, st.lists(conditions, max_size=3).map(tuple))


@settings(max_examples=150)
@given(st.lists(rules, max_size=6), names, st.tuples(*[words] * 6), st.sampled_from(ARCHITECTURES))
def test_the_program_means_what_the_rules_say(listed: list[Rule], name: str, args: tuple[int, ...], architecture: str) -> None:
    table = numbers(architecture)
    number = table[name]
    program = seccomp.compile_filter(Filter(ERRNO | 1, ARCHITECTURES, tuple(listed)))
    mine = [rule for rule in listed if name in rule.names]
    highest = max((table[n] for rule in listed for n in rule.names), default=-1)
    expected = ERRNO | 1 if number <= highest else ERRNO | 38
    plain = [rule for rule in mine if not rule.conditions]
    if plain:
        expected = plain[0].action
    else:
        matching = [rule.action for rule in mine if all(holds(condition, args) for condition in rule.conditions)]
        expected = matching[0] if matching else expected
    arch = seccomp.AUDIT_ARCH["x86_64" if architecture == "x32" else architecture]
    if not listed:
        expected = ERRNO | (1 if number in (0, X32_BIT) else 38)
    assert interpret(program, number, arch, args) == expected


def test_an_architecture_that_is_not_named_is_killed() -> None:
    program = seccomp.compile_filter(Filter(ALLOW, ("x86_64",), ()))
    assert interpret(program, 0, seccomp.AUDIT_ARCH["i386"]) == KILL_THREAD
    assert interpret(program, X32_BIT + 1, seccomp.AUDIT_ARCH["x86_64"]) == KILL_THREAD
    assert interpret(program, 5000, seccomp.AUDIT_ARCH["x86_64"]) == ALLOW


def test_numbers_are_those_of_this_machines_headers() -> None:
    headers = {"x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "i386": "/usr/include/x86_64-linux-gnu/asm/unistd_32.h"}
    for architecture, path in headers.items():
        if not os.path.exists(path):
            pytest.skip("no kernel headers here")
        table = numbers(architecture)
        with open(path) as file:
            known = [line.split()[1:3] for line in file if line.startswith("#define __NR_")]
        wrong = [(name, number) for name, number in known if table.get(name[5:]) != int(number)]
        assert wrong == []


def test_known_numbers_of_arm() -> None:
    assert [numbers("arm64")[name] for name in ("openat", "clone", "execve", "openat2")] == [56, 220, 221, 437]
    assert [numbers("arm")[name] for name in ("open", "socket", "set_tls", "openat2")] == [5, 281, 0xF0005, 437]
    assert "open" not in numbers("arm64") and numbers("x32")["ioctl"] == X32_BIT + 514


def test_an_unknown_operator_and_architecture_are_refused() -> None:
    with pytest.raises(ValueError, match="ALMOST"):
        seccomp.compile_filter(Filter(ALLOW, ("x86_64",), (Rule(("read",), ALLOW, (Condition(0, "ALMOST", 1),)),)))
    with pytest.raises(ValueError, match="vax"):
        numbers("vax")


def test_a_program_too_long_for_the_kernel_is_refused() -> None:
    many = tuple(Rule(("read",), ERRNO | n % 100, (Condition(0, "EQ", n),)) for n in range(1100))
    with pytest.raises(ValueError, match="4096"):
        seccomp.compile_filter(Filter(ALLOW, ("x86_64",), many))
