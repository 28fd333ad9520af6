"""Log options as Docker takes them."""

import pytest

from pier.errors import Invalid, NotImplementedByPier
from pier.logs.options import parse


def test_defaults() -> None:
    local, json_file = parse("local", {}), parse("json-file", {})
    assert (local.max_bytes, local.max_files, local.compress) == (20 << 20, 5, True)
    assert (json_file.max_bytes, json_file.max_files, json_file.compress) == (-1, 1, False)


@pytest.mark.parametrize(("text", "size"), [("10m", 10 << 20), ("1k", 1024), ("1.5g", 3 << 29), ("77", 77), ("5mb", 5 << 20), ("2KiB", 2048)])
def test_sizes(text: str, size: int) -> None:
    assert parse("json-file", {"max-size": text}).max_bytes == size


@pytest.mark.parametrize(
    ("driver", "options", "text"),
    [
        ("local", {"nope": "1"}, "unknown log opt 'nope' for local log driver"),
        ("json-file", {"max-size": "ten"}, "invalid size: 'ten'"),
        ("json-file", {"max-size": "0"}, "positive"),
        ("json-file", {"max-file": "0", "max-size": "1k"}, "max-file cannot be less than 1"),
        ("json-file", {"max-file": "x"}, "invalid syntax"),
        ("json-file", {"max-file": "3"}, "max-size"),
        ("json-file", {"compress": "true"}, "compress"),
        ("local", {"compress": "maybe"}, "invalid syntax"),
        ("none", {"max-size": "1k"}, "unknown log opt"),
        ("nowhere", {}, "no log driver named 'nowhere' is registered"),
    ],
)
def test_wrong_ones_are_refused_by_name(driver: str, options: dict[str, str], text: str) -> None:
    with pytest.raises(Invalid, match=text):
        parse(driver, options)


@pytest.mark.parametrize(("driver", "options"), [("syslog", {}), ("json-file", {"tag": "x"}), ("local", {"mode": "non-blocking"})])
def test_later_ones_are_refused_as_such(driver: str, options: dict[str, str]) -> None:
    with pytest.raises(NotImplementedByPier, match="not supported by Pier yet"):
        parse(driver, options)


def test_the_blocking_mode_is_the_default_and_taken() -> None:
    assert parse("local", {"mode": "blocking"}).max_files == 5
