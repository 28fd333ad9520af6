"""Options and habits of all tests: which engine the compat tests talk to, and the command that replays a failed test."""

import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

try:
    from hypothesis import HealthCheck, settings
except ImportError:
    pass  # the guest of tests/vm has none
else:
    settings.register_profile("pier", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault of the test
    settings.load_profile("pier")

_TESTS = Path(__file__).parent
_FIRST = ("vm", "repo", "engine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--target", choices=("pier", "reference"), default="pier", help="the engine of tests/compat: Pier, or the reference dockerd")
    parser.addoption("--docker", default="", help="the docker command of tests/compat (default: the reference's own, else the one on PATH)")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell: what is started here would not hear Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "no_leak_check(reason): the test breaks the engine on purpose and checks what is left itself")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes begin first, so that none is left to the end with one processor idle (with --no-loadscope-reorder)."""
    items.sort(key=lambda item: _FIRST.index(folder) if (folder := item.path.relative_to(_TESTS).parts[0]) in _FIRST else len(_FIRST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        target = "" if item.config.getoption("--target") == "pier" else " --target reference"
        report.sections.append(("replay", f"{sys.executable} -m pytest '{item.nodeid}'{target}"))
    return report
