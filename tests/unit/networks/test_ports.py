"""What is asked for, which port of the host is given, and how it is shown."""

from typing import Any

import msgspec
import pytest

from pier.api.models.containers import PortBinding
from pier.errors import Invalid
from pier.networks.ports import Asked, Binding, Ledger, Taken, asked, exposed, port_map, summaries

TCP80 = Asked("tcp", 80)


def bindings(**given: Any) -> dict[str, list[PortBinding] | None]:
    return msgspec.convert(given, dict[str, list[PortBinding] | None])


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"80/tcp": [{"HostPort": "8080"}]}, [Asked("tcp", 80, (), 8080, 8080)]),
        ({"80": [{}]}, [TCP80]),
        ({"80/TCP": [{"HostPort": "0"}]}, [TCP80]),
        ({"80/tcp": [{"HostPort": "7780-7782"}]}, [Asked("tcp", 80, (), 7780, 7782)]),
        ({"80/tcp": []}, []),
        ({"80/tcp": None}, []),
        ({"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "1"}, {"HostIp": "::", "HostPort": "1"}]}, [Asked("tcp", 80, ("0.0.0.0", "::"), 1, 1)]),
        ({"80/tcp": [{"HostPort": "1"}, {"HostPort": "1"}]}, [Asked("tcp", 80, (), 1, 1)] * 2),
        ({"80/tcp": [{"HostIp": "127.0.0.1"}, {"HostIp": "127.0.0.1"}]}, [Asked("tcp", 80, ("127.0.0.1",))] * 2),
        ({"53/udp": [{"HostIp": "0:0::1", "HostPort": "5"}]}, [Asked("udp", 53, ("::1",), 5, 5)]),
        ({"80/tcp": [{}], "79/tcp": [{"HostPort": "9-10"}], "78/tcp": [{"HostPort": "9"}]},
         [Asked("tcp", 78, (), 9, 9), Asked("tcp", 79, (), 9, 10), TCP80]),  # the choosy first
    ],
)  # fmt: skip
def test_what_is_asked_for(given: dict[str, Any], found: list[Asked]) -> None:
    assert list(asked(bindings(**given), {}, False)) == found


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"80/tcp": [{"HostPort": "abc"}]}, 'invalid port specification: "abc"'),
        ({"80/tcp": [{"HostPort": "70000"}]}, 'invalid port specification: "70000"'),
        ({"80/tcp": [{"HostPort": "-1"}]}, 'invalid port specification: "-1"'),
        ({"80/tcp": [{"HostPort": "7790-7780"}]}, 'invalid port specification: "7790-7780"'),
        ({"80/tcp": [{"HostPort": "0-9"}]}, 'invalid port specification: "0-9"'),
        ({"abc": [{}]}, 'invalid port specification: "abc"'),
        ({"80-82/tcp": [{}]}, 'invalid port specification: "80-82"'),
        ({"70000/tcp": [{}]}, 'invalid port specification: "70000"'),
        ({"": [{}]}, 'invalid port specification: ""'),
        ({"80/foo": [{}]}, "unknown protocol"),
        ({"0/tcp": [{}]}, "nothing listens on port 0"),
        ({"80/tcp": [{"HostIp": "foo"}]}, "it is no IP address"),
        ({"80/tcp": [{"HostIp": "fe80::1"}]}, "a link-local address"),
        ({"80/tcp": [{"HostIp": "fe80::1%lan0"}]}, "a link-local address"),
    ],
)
def test_what_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(Invalid) as caught:
        asked(bindings(**given), {}, False)
    assert text in str(caught.value)


def test_publish_all_takes_what_is_exposed_and_not_named() -> None:
    found = asked(bindings(**{"80/tcp": [{"HostPort": "8080"}], "81/tcp": []}), ["80/tcp", "81", "90-91/udp", "x/tcp", "7/foo", "0/tcp"], True)
    assert list(found) == [Asked("tcp", 80, (), 8080, 8080), Asked("tcp", 81), Asked("udp", 90), Asked("udp", 91)]
    assert exposed(["80-82/tcp", "80/tcp", "nope"]) == [(80, "tcp"), (81, "tcp"), (82, "tcp")]


@pytest.mark.parametrize(
    ("held", "wanted", "taken"),
    [
        (("tcp", "0.0.0.0"), ("tcp", "0.0.0.0"), True),
        (("tcp", "0.0.0.0"), ("tcp", "127.0.0.1"), True),
        (("tcp", "127.0.0.1"), ("tcp", "0.0.0.0"), True),
        (("tcp", "127.0.0.1"), ("tcp", "127.0.0.2"), False),
        (("tcp", "0.0.0.0"), ("udp", "0.0.0.0"), False),
        (("tcp", "0.0.0.0"), ("tcp", "::"), False),
        (("tcp", "::"), ("tcp", "::1"), True),
    ],
)
def test_whose_a_port_is(held: tuple[str, str], wanted: tuple[str, str], taken: bool) -> None:
    ledger = Ledger()
    mine = [Binding(held[0], 80, held[1], 8080)]
    ledger.take("a", mine)
    assert ledger.holder(wanted[0], wanted[1], 8080) == ("a" if taken else "")
    assert not ledger.holder(wanted[0], wanted[1], 8081)
    ledger.give_back("b", mine)
    assert ledger.holder(held[0], held[1], 8080) == "a"
    ledger.give_back("a", mine)
    assert not ledger.holder(wanted[0], wanted[1], 8080)


def test_candidates() -> None:
    ledger = Ledger((100, 102))

    def given(one: Asked, before: int = 0) -> int:
        port = next(ledger.candidates(one, ["0.0.0.0"], before))
        ledger.take("a", [Binding("tcp", 80, "0.0.0.0", port)])
        return port

    assert given(TCP80) == 100
    assert given(TCP80, before=102) == 102, "the one that it had"
    assert given(TCP80, before=102) == 101
    with pytest.raises(Taken) as caught:
        given(TCP80)
    assert (caught.value.port, caught.value.container) == (0, "a")
    assert given(Asked("tcp", 80, (), 7, 8)) == 7 and given(Asked("tcp", 80, (), 7, 8)) == 8
    with pytest.raises(Taken) as caught:
        given(Asked("tcp", 80, (), 7, 7))
    assert (caught.value.port, caught.value.container) == (7, "a")


def test_how_it_is_shown() -> None:
    found = (Binding("tcp", 80, "0.0.0.0", 8080), Binding("tcp", 80, "::", 8080), Binding("tcp", 81, "0.0.0.0", 0))
    shown = port_map(["80/tcp", "7/udp", "nope"], found)
    assert msgspec.to_builtins(shown) == {
        "7/udp": None,
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
        "81/tcp": [{"HostIp": "0.0.0.0", "HostPort": ""}],
    }
    assert summaries(["80/tcp", "7/udp"], found) == [
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "0.0.0.0", "PrivatePort": 81, "Type": "tcp"},
        {"PrivatePort": 7, "Type": "udp"},
    ]
