"""Answers that are ready: found by the question's bytes, for as long as they are good, and never many."""

import time

from pier.netd.ready import MOST_ENTRIES, MOST_QUESTION_BYTES, MOST_WAYS, Ready

QUESTION, ANSWER = b"\x00\x01question", b"\x00\x01answer"


def ready(version: int = 1) -> Ready:
    made = Ready()
    assert made.find(QUESTION, version) == b""
    return made


def test_an_answer_goes_out_under_the_number_of_who_asks() -> None:
    made = ready()
    made.keep(QUESTION, [ANSWER])
    assert made.find(b"\xab\xcdquestion", 1) == b"\xab\xcdanswer" and made.find(b"\xab\xcdQuestion", 1) == b""


def test_nothing_outlives_a_change_of_the_tables() -> None:
    made = ready()
    made.keep(QUESTION, [ANSWER])
    assert made.find(QUESTION, 2) == b"" and made.find(QUESTION, 2) == b""


def test_an_answer_from_outside_is_good_until_it_ages() -> None:
    made = ready()
    made.keep(QUESTION, [ANSWER], time.monotonic() + 60)
    assert made.find(QUESTION, 1) == ANSWER
    made.keep(QUESTION, [ANSWER], time.monotonic())
    assert made.find(QUESTION, 1) == b""


def test_several_answers_take_turns() -> None:
    made = ready()
    made.keep(QUESTION, [b"..one", b"..two"])
    assert {made.find(QUESTION, 1) for _ in range(2)} == {b"\x00\x01one", b"\x00\x01two"}


def test_what_a_container_asks_takes_little_memory() -> None:
    made = ready()
    made.keep(QUESTION, [ANSWER] * (MOST_WAYS + 1))
    assert made.find(QUESTION, 1) == b""
    long = bytes(MOST_QUESTION_BYTES + 1)
    made.keep(long, [ANSWER])
    assert made.find(long, 1) == b""
    for number in range(10 * MOST_ENTRIES):
        made.keep(b"..%d" % number, [ANSWER])
    assert sum(bool(made.find(b"..%d" % number, 1)) for number in range(10 * MOST_ENTRIES)) <= MOST_ENTRIES
