import itertools
import random
from collections.abc import Callable, Sequence

import pytest

from pier.containers import labels
from pier.containers.labels import Labelling, Labels
from pier.errors import Conflict, Internal

PROCESS, FILE = "system_u:system_r:container_t:s0", "system_u:object_r:container_file_t:s0"
HERE = Labelling(PROCESS, FILE)


def giving(*numbers: int) -> Callable[[int], int]:
    """In place of chance."""
    left = iter(numbers)
    return lambda _: next(left)


def test_each_container_has_two_categories_of_its_own() -> None:
    assert HERE.choose([], set(), giving(700, 5)) == Labels(f"{PROCESS}:c5,c700", f"{FILE}:c5,c700")
    taken = {"s0:c5,c700"}
    assert HERE.choose([], taken, giving(5, 700, 8, 8, 1023, 1022, 0, 1)).process == f"{PROCESS}:c0,c1", "taken, one alone, reserved, free"
    chance = random.Random(1)
    for _ in range(300):
        level = labels.level_of(HERE.choose([], taken, chance.randrange).mount)
        assert level not in taken
        taken.add(level)


def test_the_last_pair_is_found_and_then_there_is_none() -> None:
    every = {f"s0:c{low},c{high}" for low, high in itertools.combinations(range(labels.CATEGORIES), 2)}
    assert HERE.choose([], every - {"s0:c3,c4"}, lambda _: 7).process == f"{PROCESS}:c3,c4"
    with pytest.raises(Conflict, match="every pair of SELinux categories is a container's"):
        HERE.choose([], every - {"s0:c1022,c1023"}, lambda _: 7)


@pytest.mark.parametrize(
    ("options", "process", "file"),
    [
        (["disable"], "", f"{FILE}:c1022,c1023"),
        (["type:mine_t", "disable"], "", f"{FILE}:c1022,c1023"),
        (["type:mine_t"], "system_u:system_r:mine_t:s0:c1,c2", f"{FILE}:c1,c2"),
        (["filetype:mine_file_t"], f"{PROCESS}:c1,c2", "system_u:object_r:mine_file_t:s0:c1,c2"),
        (["level:s0:c8,c9"], f"{PROCESS}:c8,c9", f"{FILE}:c8,c9"),
        (["user:staff_u", "role:mine_r"], "staff_u:mine_r:container_t:s0:c1,c2", "staff_u:object_r:container_file_t:s0:c1,c2"),
    ],
)
def test_what_options_change(options: list[str], process: str, file: str) -> None:
    assert HERE.choose(options, {"s0:c8,c9"}, giving(1, 2)) == Labels(process, file)


@pytest.mark.parametrize("option", ["nested", "disabled", "colour:red", "", ":x"])
def test_an_option_that_is_none_is_refused(option: str) -> None:
    with pytest.raises(Internal, match="bad label option"):
        HERE.choose([option], set(), giving(1, 2))


def test_a_policy_without_levels_has_no_categories() -> None:
    plain = Labelling("u:r:container_t", "u:object_r:container_file_t")
    assert plain.choose([], set(), giving()) == Labels("u:r:container_t", "u:object_r:container_file_t")
    assert plain.choose(["disable"], set(), giving()) == Labels("", "u:object_r:container_file_t")
    assert labels.shared("u:object_r:container_file_t") == "u:object_r:container_file_t"


def test_labels_made_of_others() -> None:
    assert labels.shared(f"{FILE}:c1,c2") == FILE
    asked = labels.same_as(f"{PROCESS}:c1,c2")
    assert asked == ["label=user:system_u", "label=role:system_r", "label=type:container_t", "label=level:s0:c1,c2"]
    assert HERE.choose([option.removeprefix("label=") for option in asked], set(), giving()) == Labels(f"{PROCESS}:c1,c2", f"{FILE}:c1,c2")
    assert labels.same_as("") == []


@pytest.mark.parametrize("path", ["/", "//", "/usr", "/etc/", "/etc/../home", "/var/lib", "/root", "/home/me"])
def test_folders_of_the_host_itself_keep_their_labels(path: str) -> None:
    with pytest.raises(Internal, match=r"error setting label on mount source '/[a-z/]*': SELinux relabeling of /[a-z/]* is not allowed"):
        labels.check_source(path, ["/home/me"])


def test_a_label_on_a_host_without() -> None:
    labels.check_start("", False)
    labels.check_start(f"{FILE}:c1,c2", True)
    with pytest.raises(Internal, match="selinux label is specified in config, but selinux is disabled or not supported"):
        labels.check_start(f"{FILE}:c1,c2", False)


@pytest.mark.parametrize("path", ["/srv/web", "/home/you", "/home/me/site", "/var/lib/app", "/opt/x", "/data"])
def test_other_folders_may_get_one(path: str) -> None:
    labels.check_source(path, ["/home/me"])


@pytest.mark.parametrize(
    ("options", "binds", "told"),
    [
        ((), ("/a:/b:z",), "z of /a:/b:z"),
        (("type:x_t", "disable"), ("/a:/b:ro,Z",), "label=type:x_t, Z of /a:/b:ro,Z"),
        (("disable",), ("/a:/b", "/z:/Z:ro", "vol"), ""),
    ],
)
def test_a_daemon_without_labels_says_so_where_the_host_has_them(options: Sequence[str], binds: Sequence[str], told: str) -> None:
    assert labels.not_carried_out(options, binds, False) == []
    found = labels.not_carried_out(options, binds, True)
    assert bool(found) == bool(told) and all(f"(selinux-enabled): {told} changes no label" in warning for warning in found)
