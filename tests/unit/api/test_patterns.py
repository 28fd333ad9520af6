"""Patterns of filters: what fits is what Go's regexp said of the same pairs, and no pattern takes long."""

import resource

import pytest

from pier.api.patterns import Pattern, any_of
from pier.errors import Invalid

TEXTS = ("", "a", "ab", "abc", "AB", "a1_b-c.d", "web-1", "aaaa", "a\nb", "É", "a*")
# pattern -> the texts that fit, as Go 1.26 said.
FITS = {
    "": TEXTS,
    "^/?web": ("web-1",),
    "b$": ("ab", "a\nb"),
    "(?i)^ab": ("ab", "abc", "AB"),
    "(?i:a)b": ("ab", "abc"),
    "a(?i)b": ("ab", "abc"),
    "^.b": ("ab", "abc"),
    "(?s)a.b": ("a\nb",),
    "^a{4}$": ("aaaa",),
    "a{2,3}": ("aaaa",),
    "^(?:a|ab)(?:c|bcd)?$": ("a", "ab", "abc"),
    "(?P<x>a)(?<y>b)": ("ab", "abc"),
    r"\bb\b": ("a\nb",),
    r"1\B_": ("a1_b-c.d",),
    r"\d_\w-": ("a1_b-c.d",),
    r"\Qa*\E": ("a*",),
    r"\x61\x{2A}": ("a*",),
    r"^[^\x00-\x7f]": ("É",),
    r"(?i)é": ("É",),
    "^[[:alpha:]]+$": ("a", "ab", "abc", "AB", "aaaa"),
    "[[:^alnum:]]$": ("É", "a*"),
    r"[\D]\d$": ("web-1",),
    r"^[^\W\d]+$": ("a", "ab", "abc", "AB", "aaaa"),
    "[]*]": ("a*",),
    "[.-]": ("a1_b-c.d", "web-1"),
    "a??b": ("ab", "abc", "a1_b-c.d", "web-1", "a\nb"),
    "^a{,2}": (),
    r"\z": TEXTS,
    "(a*)*$": TEXTS,
}
MALFORMED = ("(", ")", "[", "[z-a]", "*a", "a**", "a{2}{3}", "a{3,2}", "a{1001}", "(?=a)", "(?<>a)", "[[:nope:]]", "\\", r"\8", r"\x6",
             r"\x{110000}", "(?", "(?z)")  # fmt: skip


@pytest.mark.parametrize("pattern", FITS)
def test_what_fits(pattern: str) -> None:
    assert tuple(text for text in TEXTS if Pattern(pattern).is_in(text)) == FITS[pattern]


@pytest.mark.parametrize("pattern", MALFORMED)
def test_what_is_no_pattern_fits_itself_alone(pattern: str) -> None:
    with pytest.raises(ValueError):
        Pattern(pattern)
    fits = any_of([pattern, "^a$"])
    assert fits(pattern) and fits("a") and not fits(pattern + "b")


def test_a_class_of_unicode_is_refused_by_name() -> None:
    with pytest.raises(Invalid, match=r"\\p \(classes of Unicode\) is not supported"):
        any_of([r"\p{Greek}"])


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b", "(a*)*b", "(a|a?)+b", "(a|aa)+$b", "(.*a){20}b", "(.*){1,1000}x", "(a?){500}a{500}b", "(a|c)*a(a|c){14}b",
        "(" * 90 + "a+" + ")+" * 90 + "b", "((a{0,100}){0,10}){0,10}b", "(((x{1000}){1000}){1000})", "[a-z]" * 3000,
    ],
)  # fmt: skip
def test_no_pattern_holds_up_the_daemon(pattern: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    try:
        fits = any_of([pattern])
        assert not any(fits(f"{'ac' * (number % 60)}-{number}") or fits("a" * 255) for number in range(1000))
    except Invalid as error:
        assert "use a simpler one" in str(error)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 5


def test_the_limits_are_those_of_all_patterns_together() -> None:
    with pytest.raises(Invalid, match="too large"):
        any_of([f"x{number}" + "a" * 100 for number in range(200)])
