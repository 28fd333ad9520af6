import pytest

from pier.containers.security import Profiles, device_rule, parse
from pier.errors import Internal, Invalid


@pytest.mark.parametrize(("option", "told"), [("apparmor=mine", True), ("apparmor=unconfined", False), ("apparmor=docker-default", False)])
def test_a_profile_that_nobody_enforces_is_a_warning(option: str, told: bool) -> None:
    without = Profiles("x86_64", (6, 1))
    found = without.warnings(parse([option], False))
    assert bool(found) is told and all("'mine'" in warning for warning in found)
    assert Profiles("x86_64", (6, 1), apparmor_default="pier-default").warnings(parse([option], False)) == []


def test_a_profile_nested_without_end_is_refused() -> None:
    options = parse(["seccomp=" + "[" * 200_000], False)
    with pytest.raises(Internal, match="Decoding seccomp profile failed: exceeded max depth"):
        Profiles("x86_64", (6, 1)).seccomp(options, False, ())


@pytest.mark.parametrize("text", ["c 1 rwm", "c " + "9" * 5000 + ":1 r", "c ²:1 r", "x 1:1 r"])
def test_a_rule_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match=r"^invalid device cgroup rule format"):
        device_rule(text)
