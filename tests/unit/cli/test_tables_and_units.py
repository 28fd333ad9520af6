import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.cli import units
from pier.cli.ports import display
from pier.cli.tables import layout


def test_columns_as_dockers_tables_have_them() -> None:
    rows = [["CONTAINER ID", "IMAGE", "PORTS", "NAMES"], ["4dc1792657ea", "fbox:1", "", "fc1"]]
    assert layout(rows) == "CONTAINER ID   IMAGE     PORTS     NAMES\n4dc1792657ea   fbox:1              fc1\n"
    assert layout([["NAMES", "a"], ["CLEVER_WILLIAMSON", ""], ["FC1", "b"]]) == (
        "NAMES               a\nCLEVER_WILLIAMSON   \nFC1                 b\n"
    )
    assert layout([["only"]]) == "only\n" and layout([]) == ""


@given(st.lists(st.lists(st.text("ab ", max_size=12), min_size=3, max_size=3), min_size=1, max_size=5))
def test_every_column_begins_at_one_place(rows: list[list[str]]) -> None:
    lines = layout(rows).split("\n")
    width = max(10, max(len(row[0]) for row in rows) + 3)
    for row, line in zip(rows, lines, strict=False):
        assert line.startswith(row[0]) and line[width:].startswith(row[1])


@given(st.lists(st.lists(st.text("ab %ü", max_size=12), min_size=2, max_size=2), min_size=1, max_size=5))
def test_rows_of_one_length_are_set_as_all_others(rows: list[list[str]]) -> None:
    assert layout([*rows, []]) == layout(rows) + "\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (3599, "59 minutes"), (3600, "About an hour"),
        (47 * 3600, "47 hours"), (48 * 3600, "2 days"), (14 * 86400, "2 weeks"), (60 * 86400, "2 months"), (800 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_spans(seconds: float, text: str) -> None:
    assert units.human_span(seconds) == text


def test_sizes() -> None:
    assert [units.human_size(size, 3) for size in (0, 999, 1000, 1982305)] == ["0B", "999B", "1kB", "1.98MB"]
    assert units.human_size(1982305) == "1.982MB"
    assert units.binary_size(25275000000) == "23.54GiB"


def test_moments() -> None:
    assert units.parse_moment("1700000000") == "1700000000"
    assert units.parse_moment("1700000000.5") == "1700000000.5"
    assert units.parse_moment("1m30s", now_s=100) == "10.000000000"
    assert units.parse_moment("2013-01-02T13:23:37Z") == "1357133017.000000000"
    assert units.parse_moment("2013-01-02T13:23:37.25+01:00") == "1357129417.250000000"
    for text in ("x", "5x", "2013-13-01", ""):
        with pytest.raises(ValueError):
            units.parse_moment(text)
    with pytest.raises(ValueError, match='time: unknown unit "y" in duration "5y"'):
        units.parse_span("5y")


def test_ports() -> None:
    ports = [
        {"PrivatePort": 80, "Type": "tcp"},
        {"PrivatePort": 81, "Type": "tcp"},
        {"PrivatePort": 53, "Type": "udp"},
        {"IP": "0.0.0.0", "PrivatePort": 90, "PublicPort": 8090, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 90, "PublicPort": 8090, "Type": "tcp"},
    ]
    assert display(ports) == "53/udp, 80-81/tcp, 0.0.0.0:8090->90/tcp, [::]:8090->90/tcp"


def test_words_of_an_image_do_not_drive_the_terminal() -> None:
    assert layout([["A", "B"], ["\x1b]0;x\x07", "one\ntwo\u202e"], ["é\u00a0", "\x9b1m"]]) == (
        "A              B\n\\x1b]0;x\\x07   one\\ntwo\\u202e\n" + "é\u00a0".ljust(15) + "\\x9b1m\n"
    )
