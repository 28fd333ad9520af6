"""The device program, against an interpreter of the few eBPF instructions it uses."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.linux.device_filter import DeviceRule, compile_filter

ACCESS = {"m": 1, "r": 2, "w": 4}


def interpret(program: bytes, kind: int, access: int, major: int, minor: int) -> int:
    """r0 at the exit."""
    context = struct.pack("<III", access << 16 | kind, major, minor)
    registers, at = [0] * 11, 0
    instructions = list(struct.iter_unpack("<BBhi", program))
    while True:
        code, regs, offset, immediate = instructions[at]
        dst, src = regs & 15, regs >> 4
        at += 1
        if code == 0x61:
            (registers[dst],) = struct.unpack_from("<I", context, offset)
        elif code == 0xBF:
            registers[dst] = registers[src]
        elif code == 0xB7:
            registers[dst] = immediate
        elif code == 0x57:
            registers[dst] &= immediate
        elif code == 0x77:
            registers[dst] >>= immediate
        elif code == 0x95:
            return registers[0]
        elif {0x05: True, 0x55: registers[dst] != immediate, 0x45: bool(registers[dst] & immediate)}[code]:
            at += offset


numbers = st.one_of(st.none(), st.integers(0, 3))
rules = st.builds(DeviceRule, st.booleans(), st.sampled_from("abc"), numbers, numbers, st.sets(st.sampled_from("rwm"), min_size=1).map("".join))


@given(st.lists(rules, max_size=8), st.sampled_from([1, 2]), st.integers(1, 7), st.integers(0, 3), st.integers(0, 3))
def test_the_last_rule_that_matches_decides(listed: list[DeviceRule], kind: int, access: int, major: int, minor: int) -> None:
    expected = 0
    for rule in listed:
        bits = sum(ACCESS[letter] for letter in rule.access)
        same = rule.kind in ("a", "_bc"[kind]) and rule.major in (None, major) and rule.minor in (None, minor)
        if same and (access & ~bits == 0 if rule.allow else access & bits != 0):
            expected = int(rule.allow)
    assert interpret(compile_filter(tuple(listed)), kind, access, major, minor) == expected


def test_rules_in_the_words_of_v1() -> None:
    assert [DeviceRule(False).v1(), DeviceRule(True, "c", 1, 3).v1(), DeviceRule(True, "c", 136, None, "rw").v1()] == ["a", "c 1:3 rwm", "c 136:* rw"]


def test_an_unknown_letter_is_refused() -> None:
    with pytest.raises(KeyError):
        compile_filter((DeviceRule(True, "c", 1, 3, "x"),))
