"""What is remembered of servers."""

import pytest

from pier.registry import endpoints
from pier.registry.endpoints import Endpoint, Learnt
from pier.registry.hosts import Host


def test_what_is_learnt_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    monkeypatch.setattr(endpoints.time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(endpoints, "MOST_SERVERS", 10)
    learnt = Learnt()
    here = [Host(f"https://r{number}.example/v2", plain_http=True) for number in range(30)]
    mirrors = [Host(f"https://m{number}.example/v2", namespace="docker.io") for number in range(30)]
    for number in range(6):
        learnt.answered(Endpoint(here[number], here[number].url))
    now_s[0] = 1.0
    for number in range(4):
        learnt.failed(Endpoint(mirrors[number], mirrors[number].url))
    now_s[0] = endpoints.SHUNNED_S + 2
    learnt.answered(Endpoint(here[6], here[6].url))
    assert [bool(learnt.base(host)) for host in here[:7]] == [True] * 7 and not learnt._shunned, "what is not true any more goes first"
    for host in here:
        learnt.answered(Endpoint(host, host.url))
    assert learnt.base(here[-1]) and len(learnt._bases) <= 10
