import pytest

from pier.containers.security import Profiles, parse


@pytest.mark.parametrize(("option", "told"), [("apparmor=mine", True), ("apparmor=unconfined", False), ("apparmor=docker-default", False)])
def test_a_profile_that_nobody_enforces_is_a_warning(option: str, told: bool) -> None:
    without = Profiles("x86_64", (6, 1))
    found = without.warnings(parse([option], False))
    assert bool(found) is told and all("'mine'" in warning for warning in found)
    assert Profiles("x86_64", (6, 1), apparmor_default="pier-default").warnings(parse([option], False)) == []
