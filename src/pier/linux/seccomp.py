"""seccomp(2): compiling rules into a classic BPF program, and putting it on the calling process.

The program finds the system call's number by binary search over ranges: 0.06 ms to load where a chain of comparisons takes
0.3-0.8 (measured). Architectures that are not named kill the thread; numbers above the highest one that a rule names
answer ENOSYS where the default is an error, so that libraries fall back from calls that the rules' author never knew.
"""

import ctypes
import errno
import struct
from typing import NamedTuple

from pier.linux.syscall_table import X32_BIT, numbers
from pier.linux.syscalls import call

KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, TRACE, LOG, ALLOW = 0x80000000, 0, 0x30000, 0x50000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000
FLAG_TSYNC, FLAG_LOG, FLAG_SPEC_ALLOW = 1, 2, 4
AUDIT_ARCH = {"x86_64": 0xC000003E, "i386": 0x40000003, "arm64": 0xC00000B7, "arm": 0x40000028}
OPERATORS = frozenset({"NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"})
MAX_INSTRUCTIONS = 4096
_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
# classic BPF, linux/filter.h
_LD, _JMP, _JEQ, _JGT, _JGE, _RET, _AND = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06, 0x54
_NR_OFFSET, _ARCH_OFFSET, _ARGS_OFFSET = 0, 4, 16


class Condition(NamedTuple):
    """Argument number `argument` (0-5) compared with `value`; MASKED_EQ: (argument & value) == value_two."""

    argument: int
    op: str
    value: int
    value_two: int = 0


class Rule(NamedTuple):
    """`action` (a SECCOMP_RET_* word with its data) for the named calls when all conditions hold."""

    names: tuple[str, ...]
    action: int
    conditions: tuple[Condition, ...] = ()


class Filter(NamedTuple):
    """What to compile: `architectures` of "x86_64", "i386", "x32", "arm64", "arm"; names unknown to one of them are skipped there."""

    default: int
    architectures: tuple[str, ...]
    rules: tuple[Rule, ...]


Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, k
Leaf = tuple[tuple[Rule, ...], int]  # rules with conditions in order, and the action where none matches


def compile_filter(source: Filter) -> bytes:
    """The program, as an array of struct sock_filter; pure. Raises ValueError (unknown operator; too long for the kernel)."""
    program: list[Instruction] = [(_LD, 0, 0, _ARCH_OFFSET)]
    for architecture in source.architectures:
        if architecture == "x32":
            continue
        body = [(_LD, 0, 0, _NR_OFFSET), *_search(_ranges(source, architecture))]
        if architecture == "x86_64":
            other = _search(_ranges(source, "x32")) if "x32" in source.architectures else [_ret(KILL_THREAD)]
            native = _search(_ranges(source, "x86_64"))
            body = [(_LD, 0, 0, _NR_OFFSET), *_branch(_JGE, X32_BIT, native, other)]
        program += _branch(_JEQ, AUDIT_ARCH[architecture], [], body)
    program.append(_ret(KILL_THREAD))
    if len(program) > MAX_INSTRUCTIONS:
        raise ValueError(f"the seccomp profile makes a filter of {len(program)} instructions, the kernel takes {MAX_INSTRUCTIONS}")
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def _ret(action: int) -> Instruction:
    return (_RET, 0, 0, action)


def _branch(code: int, k: int, otherwise: list[Instruction], matched: list[Instruction]) -> list[Instruction]:
    """`otherwise` falls through behind `matched` when it is empty; conditional jumps reach 255, the others everything."""
    if not otherwise:
        if len(matched) <= 255:
            return [(code, 0, len(matched), k), *matched]
        return [(code, 1, 0, k), (_JMP, 0, 0, len(matched)), *matched]
    if len(otherwise) <= 255:
        return [(code, len(otherwise), 0, k), *otherwise, *matched]
    return [(code, 0, 1, k), (_JMP, 0, 0, len(otherwise)), *otherwise, *matched]


def _ranges(source: Filter, architecture: str) -> list[tuple[int, Leaf]]:
    """(first number, what is done from there on), ascending, from 0 (x32: from its bit) to the end."""
    table = numbers(architecture)
    by_number: dict[int, list[Rule]] = {}
    highest = X32_BIT if architecture == "x32" else 0
    for rule in source.rules:
        for name in rule.names:
            if name in table:
                by_number.setdefault(table[name], []).append(rule)
                if table[name] & ~X32_BIT < 0xF0000:  # arm's own calls are far away and say nothing of how new the rules are
                    highest = max(highest, table[name])
    plain: Leaf = ((), source.default)
    is_error = source.default & 0xFFFF0000 == ERRNO
    points: dict[int, Leaf] = {0: plain, highest + 1: ((), ERRNO | errno.ENOSYS) if is_error else plain}
    for number in sorted(by_number):
        points[number] = _leaf(by_number[number], source.default)
        if number + 1 not in by_number:
            points.setdefault(number + 1, plain if number < highest else points[highest + 1])
    ordered = sorted(points.items())
    return [point for at, point in enumerate(ordered) if at == 0 or point[1] != ordered[at - 1][1]]


def _leaf(rules: list[Rule], default: int) -> Leaf:
    """As libseccomp: a rule without conditions decides alone; else the first whose conditions hold."""
    for rule in rules:
        if not rule.conditions:
            return (), rule.action
    return tuple(Rule((), rule.action, rule.conditions) for rule in rules), default


def _search(ranges: list[tuple[int, Leaf]]) -> list[Instruction]:
    """The number is in A."""
    if len(ranges) == 1:
        return _leaf_code(ranges[0][1])
    middle = len(ranges) // 2
    return _branch(_JGE, ranges[middle][0], _search(ranges[:middle]), _search(ranges[middle:]))


def _leaf_code(leaf: Leaf) -> list[Instruction]:
    rules, otherwise = leaf
    code: list[Instruction] = []
    for rule in rules:
        code += _rule_code(rule)
    return [*code, _ret(otherwise)]


def _rule_code(rule: Rule) -> list[Instruction]:
    """Conditions one after another; where one fails, execution goes on behind the rule."""
    blocks = [_condition(condition) for condition in rule.conditions]
    code: list[Instruction] = [_ret(rule.action)]
    for block in reversed(blocks):
        behind = len(code)
        # In a block, a jump of NEXT means "holds": right behind the block; FAIL means behind the rule.
        length = len(block)
        resolved = [(op, _jump(true, at, length, behind), _jump(false, at, length, behind), k) for at, (op, true, false, k) in enumerate(block)]
        code = [*resolved, *code]
    return code


_NEXT, _FAIL, _HERE = "next", "fail", "here"


def _jump(target: str, at: int, length: int, behind: int) -> int:
    if target == _HERE:
        return 0
    distance = length - at - 1
    return distance if target == _NEXT else distance + behind


def _condition(condition: Condition) -> list[tuple[int, str, str, int]]:
    """A 64-bit comparison by halves; jumps are symbols."""
    low, high = condition.value & 0xFFFFFFFF, condition.value >> 32 & 0xFFFFFFFF
    at = _ARGS_OFFSET + 8 * condition.argument
    load_high, load_low = (_LD, _HERE, _HERE, at + 4), (_LD, _HERE, _HERE, at)
    if condition.op == "EQ":
        return [load_high, (_JEQ, _HERE, _FAIL, high), load_low, (_JEQ, _NEXT, _FAIL, low)]
    if condition.op == "NE":
        return [load_high, (_JEQ, _HERE, _NEXT, high), load_low, (_JEQ, _FAIL, _NEXT, low)]
    if condition.op == "MASKED_EQ":
        two_low, two_high = condition.value_two & 0xFFFFFFFF, condition.value_two >> 32 & 0xFFFFFFFF
        return [
            load_high,
            (_AND, _HERE, _HERE, high),
            (_JEQ, _HERE, _FAIL, two_high),
            load_low,
            (_AND, _HERE, _HERE, low),
            (_JEQ, _NEXT, _FAIL, two_low),
        ]
    compare = {"GT": (_JGT, _NEXT, _FAIL), "GE": (_JGE, _NEXT, _FAIL), "LT": (_JGE, _FAIL, _NEXT), "LE": (_JGT, _FAIL, _NEXT)}
    if condition.op not in compare:
        raise ValueError(f"unknown seccomp operator {condition.op!r}")
    above, below = (_NEXT, _FAIL) if condition.op in ("GT", "GE") else (_FAIL, _NEXT)
    code, true, false = compare[condition.op]
    return [load_high, (_JGT, above, _HERE, high), (_JEQ, _HERE, below, high), load_low, (code, true, false, low)]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install(program: bytes, flags: int = 0) -> None:
    """Put the filter on this process, for good. Raises OSError (EACCES: neither CAP_SYS_ADMIN nor no_new_privs; EINVAL: no program)."""
    buffer = ctypes.create_string_buffer(program, len(program))
    call("seccomp", _SET_MODE_FILTER, flags, ctypes.byref(_Program(len(program) // 8, ctypes.addressof(buffer))))


def available() -> bool:
    """Whether this kernel has seccomp filters with errors as an answer."""
    try:
        call("seccomp", _GET_ACTION_AVAIL, 0, struct.pack("<I", ERRNO))
        return True
    except OSError:
        return False
