from hypothesis import given
from hypothesis import strategies as st

from pier.containers.schedule import Schedule


def test_what_is_due_is_taken_once_the_earliest_first() -> None:
    schedule = Schedule()
    for key, when in (("a", 3.0), ("b", 1.0), ("c", 2.0), ("d", 9.0)):
        schedule.set(key, when)
    assert schedule.next() == 1.0
    assert schedule.take(0.9) == []
    assert schedule.take(3.0) == ["b", "c", "a"]
    assert schedule.take(3.0) == [] and schedule.next() == 9.0 and len(schedule) == 1


def test_a_key_has_one_time_and_can_be_dropped() -> None:
    schedule = Schedule()
    schedule.set("a", 1.0)
    schedule.set("a", 5.0)
    schedule.set("b", 2.0)
    schedule.drop("b")
    schedule.drop("nobody")
    assert schedule.take(4.0) == [] and schedule.next() == 5.0
    assert schedule.take(5.0) == ["a"] and schedule.next() is None


def test_what_no_longer_holds_does_not_pile_up() -> None:
    schedule = Schedule()
    for number in range(10_000):
        schedule.set("a", float(number))
    assert len(schedule._heap) < 100 and schedule.take(9_999.0) == ["a"]


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 20) | st.none())), st.integers(0, 20))
def test_it_is_a_map_of_times(changes: list[tuple[str, int | None]], now: int) -> None:
    schedule, model = Schedule(), dict[str, int]()
    for key, when in changes:
        if when is None:
            schedule.drop(key)
            model.pop(key, None)
        else:
            schedule.set(key, when)
            model[key] = when
    assert schedule.next() == min(model.values(), default=None)
    taken = schedule.take(now)
    assert sorted(taken) == sorted(key for key, when in model.items() if when <= now)
    assert [model[key] for key in taken] == sorted(model[key] for key in taken)
    assert schedule.next() == min((when for when in model.values() if when > now), default=None)
