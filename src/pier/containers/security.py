"""`--security-opt` and device rules of a request. Pure, but for what `Profiles` was given."""

import json
import re
from dataclasses import dataclass

from pier.errors import Internal, Invalid
from pier.oci.runtime_spec import DeviceCgroup, Seccomp
from pier.runtime import seccomp_profile

_DEVICE_NUMBER = re.compile(r"\*|[0-9]{1,9}")


@dataclass(frozen=True)
class Options:
    """What `--security-opt` says; None: not given."""

    no_new_privileges: bool = False
    seccomp: str | None = None
    apparmor: str | None = None
    systempaths_unconfined: bool = False
    labels: tuple[str, ...] = ()
    """Of `label=`, in order."""


def parse(options: list[str], privileged: bool) -> Options:
    """Read the options in order. Raises Internal (`invalid --security-opt 2: "foo=bar"`), Invalid for what comes later."""
    no_new_privileges, systempaths = False, False
    seccomp: str | None = None
    apparmor: str | None = None
    labels: tuple[str, ...] = ()
    for option in options:
        if option == "no-new-privileges":
            no_new_privileges = True
            continue
        key, equals, value = option.partition("=")
        if not equals:
            key, equals, value = option.partition(":")
        if not equals:
            raise Internal(f'invalid --security-opt 1: "{option}"')
        if key == "no-new-privileges":
            if value.lower() not in ("true", "false", "1", "0", "t", "f"):
                raise Internal(f'invalid --security-opt 2: "{option}"')
            no_new_privileges = value.lower() in ("true", "1", "t")
        elif key == "seccomp":
            seccomp = value
        elif key == "apparmor":
            apparmor = value
        elif key == "systempaths" and value == "unconfined":
            systempaths = True
        elif key == "label":
            labels += (value,)
        elif key == "writable-cgroups":
            raise Invalid(f"HostConfig.SecurityOpt {option!r} is not supported by Pier yet")
        else:
            raise Internal(f'invalid --security-opt 2: "{option}"')
    return Options(no_new_privileges, seccomp, apparmor, systempaths, labels)


@dataclass(frozen=True)
class Profiles:
    """The profiles that there are: `machine` and `kernel` decide which system calls they name.

    `apparmor_default` is "" where AppArmor is off, `seccomp_available` whether the kernel filters.
    """

    machine: str
    kernel: tuple[int, int]
    apparmor_default: str = ""
    seccomp_available: bool = True

    def apparmor(self, options: Options, privileged: bool) -> str:
        """The AppArmor profile of a process; "" where AppArmor is off."""
        if not self.apparmor_default:
            return ""
        if options.apparmor is not None:
            return options.apparmor
        return "unconfined" if privileged else self.apparmor_default

    def warnings(self, options: Options) -> list[str]:
        """What is asked for and cannot be had here: a profile of one's own without AppArmor (Docker leaves it away without a word)."""
        if self.apparmor_default or options.apparmor in (None, "", "unconfined", "docker-default", "pier-default"):
            return []
        return [f"AppArmor is not enabled on this host: the container runs without the profile {options.apparmor!r}."]

    def seccomp(self, options: Options, privileged: bool, capability_names: tuple[str, ...]) -> Seccomp | None:
        """The seccomp profile: None for unconfined. Raises Internal (`Decoding seccomp profile failed: ...`)."""
        if options.seccomp == "unconfined" or not self.seccomp_available or (privileged and options.seccomp is None):
            return None
        if options.seccomp in (None, "builtin"):
            return seccomp_profile.default(capability_names, self.machine, self.kernel)
        try:
            document = json.loads(options.seccomp or "")
        except RecursionError:
            raise Internal("Decoding seccomp profile failed: exceeded max depth") from None
        except ValueError as problem:
            detail = "unexpected end of JSON input" if str(options.seccomp).strip()[-1:] in ("", "{", "[", ",", ":") else str(problem)
            raise Internal(f"Decoding seccomp profile failed: {detail}") from None
        return seccomp_profile.resolve(document, capability_names, self.machine, self.kernel)


def device_rule(text: str) -> DeviceCgroup:
    """The rule of `c 1:3 rwm`; `*` for any number. Raises Invalid."""
    words = text.split()
    numbers = words[1].split(":") if len(words) == 3 else []
    good = len(numbers) == 2 and words[0] in "abc" and set(words[2]) <= set("rwm") and all(map(_DEVICE_NUMBER.fullmatch, numbers))
    if not good:
        raise Invalid(f"invalid device cgroup rule format: '{text}'")
    major, minor = (None if n == "*" else int(n) for n in numbers)
    return DeviceCgroup(allow=True, type=words[0], major=major, minor=minor, access=words[2])
