"""Docker's JSON seccomp profiles -> the specification's rules -> a compiled filter: pure, and compiled once.

`resolve` applies the conditions of a profile (capabilities, architectures, kernel version) to one container;
`filter_of` turns the result into the bytes that the child loads, kept for the next container with the same rules.
"""

import functools
from typing import Any

from pier.errors import Invalid
from pier.linux import seccomp
from pier.oci.runtime_spec import Seccomp, SeccompArg, SeccompRule
from pier.runtime import seccomp_default

_GO_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}
_NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
_ARCHITECTURES = {
    "SCMP_ARCH_X86_64": "x86_64",
    "SCMP_ARCH_X86": "i386",
    "SCMP_ARCH_X32": "x32",
    "SCMP_ARCH_AARCH64": "arm64",
    "SCMP_ARCH_ARM": "arm",
}
_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": seccomp.FLAG_TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": seccomp.FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": seccomp.FLAG_SPEC_ALLOW,
}
_ACTIONS = {
    "SCMP_ACT_KILL": seccomp.KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": seccomp.KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": seccomp.KILL_PROCESS,
    "SCMP_ACT_TRAP": seccomp.TRAP,
    "SCMP_ACT_ERRNO": seccomp.ERRNO,
    "SCMP_ACT_TRACE": seccomp.TRACE,
    "SCMP_ACT_ALLOW": seccomp.ALLOW,
    "SCMP_ACT_LOG": seccomp.LOG,
}
_FIELDS = frozenset({"defaultAction", "defaultErrnoRet", "architectures", "archMap", "syscalls", "flags", "listenerPath", "listenerMetadata"})
_RULE_FIELDS = frozenset({"name", "names", "action", "errnoRet", "args", "comment", "includes", "excludes"})


def default(capabilities: tuple[str, ...], machine: str, kernel: tuple[int, int]) -> Seccomp:
    """The default profile for a container with these capabilities (full names)."""
    return _default(tuple(sorted(capabilities)), machine, kernel)


@functools.lru_cache(maxsize=64)
def _default(capabilities: tuple[str, ...], machine: str, kernel: tuple[int, int]) -> Seccomp:
    return resolve(seccomp_default.profile(), capabilities, machine, kernel)


def resolve(profile: dict[str, Any], capabilities: tuple[str, ...], machine: str, kernel: tuple[int, int]) -> Seccomp:
    """A profile (the JSON of `--security-opt seccomp=FILE`) for one container. Raises Invalid naming the field."""
    if not isinstance(profile, dict) or not isinstance(profile.get("defaultAction"), str):
        raise Invalid("Decoding seccomp profile failed: defaultAction is missing")
    for name in profile:
        if name not in _FIELDS:
            raise Invalid(f"Decoding seccomp profile failed: unknown field {name!r}")
    if profile.get("listenerPath"):
        raise Invalid("seccomp profile: listenerPath (notifications to another process) is not supported by Pier yet")
    if profile.get("architectures") and profile.get("archMap"):
        raise Invalid("both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'")
    names = tuple(profile.get("architectures") or ())
    for entry in profile.get("archMap") or ():
        if entry.get("architecture") == _NATIVE.get(machine):
            names = (entry["architecture"], *(entry.get("subArchitectures") or ()))
            break
    rules = []
    for entry in profile.get("syscalls") or ():
        for name in entry:
            if name not in _RULE_FIELDS:
                raise Invalid(f"Decoding seccomp profile failed: unknown field {name!r} of a rule")
        if entry.get("name") and entry.get("names"):
            raise Invalid("both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'")
        if _applies(entry, frozenset(capabilities), _GO_ARCHITECTURE.get(machine, machine), kernel):
            calls = tuple(entry.get("names") or ([entry["name"]] if entry.get("name") else ()))
            args = tuple(_arg(arg) for arg in entry.get("args") or ())
            rules.append(SeccompRule(names=calls, action=_text(entry, "action"), errno_ret=entry.get("errnoRet"), args=args))
    return Seccomp(
        default_action=profile["defaultAction"],
        default_errno_ret=profile.get("defaultErrnoRet"),
        architectures=names,
        flags=tuple(profile.get("flags") or ()),
        syscalls=tuple(rules),
    )


def _text(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        raise Invalid(f"Decoding seccomp profile failed: {key} of a rule is missing")
    return value


def _arg(arg: dict[str, Any]) -> SeccompArg:
    try:
        return SeccompArg(index=int(arg["index"]), value=int(arg["value"]), value_two=int(arg.get("valueTwo") or 0), op=str(arg["op"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Invalid(f"Decoding seccomp profile failed: an argument {arg!r} is not index, value, op ({error})") from None


def _applies(entry: dict[str, Any], capabilities: frozenset[str], architecture: str, kernel: tuple[int, int]) -> bool:
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    if includes.get("arches") and architecture not in includes["arches"]:
        return False
    if architecture in (excludes.get("arches") or ()):
        return False
    if not all(name in capabilities for name in includes.get("caps") or ()):
        return False
    if any(name in capabilities for name in excludes.get("caps") or ()):
        return False
    if includes.get("minKernel") and kernel < _version(includes["minKernel"]):
        return False
    return not (excludes.get("minKernel") and kernel >= _version(excludes["minKernel"]))


def _version(text: str) -> tuple[int, int]:
    try:
        major, minor = str(text).split(".")[:2]
        return int(major), int(minor)
    except ValueError:
        raise Invalid(f"Decoding seccomp profile failed: minKernel {text!r} is not MAJOR.MINOR") from None


@functools.lru_cache(maxsize=64)
def filter_of(profile: Seccomp, machine: str) -> tuple[bytes, int]:
    """(program, flags of seccomp(2)) of the specification's rules. Raises Invalid for an action, operator or architecture that is unknown."""
    names = profile.architectures or (_NATIVE[machine],)
    unknown = [name for name in names if name not in _ARCHITECTURES]
    if unknown:
        raise Invalid(f"seccomp profile: architecture {unknown[0]!r} is unknown here; {', '.join(_ARCHITECTURES)} are known")
    architectures = dict.fromkeys([_ARCHITECTURES[_NATIVE[machine]], *(_ARCHITECTURES[name] for name in names)])
    default_action = _action(profile.default_action, profile.default_errno_ret)
    rules: list[seccomp.Rule] = []
    for rule in profile.syscalls:
        action = _action(rule.action, rule.errno_ret)
        rules += [seccomp.Rule(rule.names, action, conditions) for conditions in _alternatives(rule.args)]
    flags = 0
    for flag in profile.flags:
        if flag not in _FLAGS:
            raise Invalid(f"seccomp profile: unknown flag {flag!r}")
        flags |= _FLAGS[flag]
    try:
        program = seccomp.compile_filter(seccomp.Filter(default_action, tuple(architectures), tuple(rules)))
    except ValueError as error:
        raise Invalid(f"seccomp profile: {error}") from None
    # As runc: a profile that says nothing of flags does not slow the container down by disabling speculation.
    return program, flags if profile.flags else seccomp.FLAG_SPEC_ALLOW


def _action(name: str, number: int | None) -> int:
    if name not in _ACTIONS:
        raise Invalid(f"seccomp profile: unknown action {name!r}")
    action = _ACTIONS[name]
    if action in (seccomp.ERRNO, seccomp.TRACE):
        return action | ((1 if number is None else number) & 0xFFFF)
    if number:
        raise Invalid(f"seccomp profile: errnoRet is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE, not for {name}")
    return action


def _alternatives(args: tuple[SeccompArg, ...]) -> list[tuple[seccomp.Condition, ...]]:
    """All conditions of a rule must hold; several about one argument are alternatives, as runc reads them."""
    conditions = []
    for arg in args:
        op = arg.op.removeprefix("SCMP_CMP_")
        if op not in seccomp.OPERATORS or not 0 <= arg.index <= 5:
            raise Invalid(f"seccomp profile: argument {arg.index} with operator {arg.op!r} is unknown")
        conditions.append(seccomp.Condition(arg.index, op, arg.value, arg.value_two))
    if len({condition.argument for condition in conditions}) == len(conditions):
        return [tuple(conditions)]
    return [(condition,) for condition in conditions]
