"""--publish, as docker 28.5's client takes and refuses it."""

from typing import Any

import pytest

from pier.cli.port_values import published


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("80", {"80/tcp": [("", "")]}),
        ("8080:80", {"80/tcp": [("", "8080")]}),
        ("0:80", {"80/tcp": [("", "0")]}),
        ("::80", {"80/tcp": [("", "")]}),
        (":80", {"80/tcp": [("", "")]}),
        ("80:80/UDP", {"80/udp": [("", "80")]}),
        ("80/tcp/udp", {"80/tcp": [("", "")]}),
        ("127.0.0.1::80", {"80/tcp": [("127.0.0.1", "")]}),
        ("127.0.0.1:80-81:80", {"80/tcp": [("127.0.0.1", "80-81")]}),
        ("[::1]:84:84", {"84/tcp": [("::1", "84")]}),
        ("8000-8001:80-81/sctp", {"80/sctp": [("", "8000")], "81/sctp": [("", "8001")]}),
        ("published=8080,target=80,protocol=udp", {"80/udp": [("", "8080")]}),
    ],
)
def test_what_is_taken(text: str, found: dict[str, Any]) -> None:
    exposed, bindings = published([text])
    assert list(exposed) == list(bindings) == list(found)
    assert {key: [(b["HostIp"], b["HostPort"]) for b in each] for key, each in bindings.items()} == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("70000:80", "Invalid hostPort: 70000"),
        ("80:70000", "Invalid containerPort: 70000"),
        ("a:b", "Invalid containerPort: b"),
        (":", "No port specified: :<empty>"),
        ("1.2.3.4::", "No port specified: 1.2.3.4::<empty>"),
        ("", "No port specified: <empty>"),
        (" 80", "Invalid containerPort:  80"),
        ("1:2:3:4", "Invalid ip address 1:2: address 1:2:: too many colons in address"),
        ("::1:80:80", "Invalid ip address ::1: address ::1:: too many colons in address"),
        ("[::1]:80", "Invalid ip address [:: address [::: missing ']' in address"),
        ("[::1:80:80", "Invalid ip address [::1: address [::1:: missing ']' in address"),
        ("80:80/foo", "Invalid proto: foo"),
        ("1.2.3:80:80", "Invalid ip address: 1.2.3"),
        ("localhost:80:80", "Invalid ip address: localhost"),
        ("127.0.0.1:80", "Invalid hostPort: 127.0.0.1"),
        ("-1:80", "Invalid hostPort: -1"),
        ("80-79:1-2", "Invalid hostPort: 80-79"),
        ("8000-8001:80-82", "Invalid ranges specified for container and host Ports: 80-82 and 8000-8001"),
        ("published=80,x", "invalid publish opts format (should be name=value but got 'x')"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        published([text])
    assert str(caught.value) == words
