"""The texts of /etc/hosts, /etc/resolv.conf and /etc/hostname, beside what Docker 28 writes."""

import pytest

from pier.errors import Internal, Invalid
from pier.networks import files

HOST = "# made by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.53\n; old\nsearch corp.example lab.example\noptions edns0 trust-ad\n"


def body(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_hosts_names_the_container_with_its_short_name() -> None:
    text = files.hosts_file(hostname="a.b.c", addresses=["172.17.0.2"])
    assert text == files.HOSTS_HEAD + "172.17.0.2\ta.b.c a\n"
    assert text.startswith("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n")


def test_hosts_with_a_domain_and_extra_hosts_in_their_order() -> None:
    text = files.hosts_file(
        hostname="h",
        domainname="dom.x",
        addresses=["172.17.0.2"],
        extra_hosts=["x:1.2.3.4", "y:host-gateway", "z=fe80::1", "v:[::2]"],
        host_gateway="172.17.0.1",
    )
    assert text == files.HOSTS_HEAD + "1.2.3.4\tx\n172.17.0.1\ty\nfe80::1\tz\n::2\tv\n172.17.0.2\th.dom.x h\n"


def test_without_an_address_the_container_is_not_named() -> None:
    assert files.hosts_file(hostname="h") == files.HOSTS_HEAD


def test_the_hosts_own_file_is_used_with_the_hosts_network_unless_hosts_are_added() -> None:
    assert files.hosts_file(hostname="h", host_network=True, host_file="mine\n") == "mine\n"
    assert files.hosts_file(hostname="h", host_network=True, host_file="mine\n", extra_hosts=["x:1.2.3.4"]) == files.HOSTS_HEAD + "1.2.3.4\tx\n"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nothing", 'bad format for add-host: "nothing"'),
        (":1.2.3.4", "bad format"),
        ("x:1.2.3", 'invalid IP address in add-host: "1.2.3"'),
        ("x:", "invalid IP"),
    ],
)
def test_a_bad_extra_host_is_refused(given: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        files.hosts_file(hostname="h", extra_hosts=[given])


def test_host_gateway_without_a_bridge_is_refused() -> None:
    with pytest.raises(Invalid, match="host-gateway"):
        files.hosts_file(hostname="h", extra_hosts=["x:host-gateway"])


def test_the_hosts_resolv_conf_without_its_loopback_servers() -> None:
    text = files.resolv_conf(HOST)
    assert body(text) == ["nameserver 192.0.2.53", "search corp.example lab.example", "options edns0 trust-ad"]
    assert text.endswith("\n# Based on host file: '/etc/resolv.conf' (legacy)\n# Overrides: []\n")


def test_with_the_hosts_network_its_loopback_servers_stay() -> None:
    assert body(files.resolv_conf(HOST, host_network=True))[:2] == ["nameserver 127.0.0.53", "nameserver 192.0.2.53"]


@pytest.mark.parametrize("host", ["nameserver 127.0.0.1\nnameserver ::1\nnameserver 127.8.8.8\n", ""])
def test_public_servers_where_none_is_left(host: str) -> None:
    text = files.resolv_conf(host)
    assert body(text) == ["nameserver 8.8.8.8", "nameserver 8.8.4.4"]
    assert "# Used default nameservers." in text


def test_what_is_given_replaces_the_hosts_part_by_part() -> None:
    text = files.resolv_conf(HOST, dns=["1.1.1.1", "127.0.0.1"], search=["foo.bar"], options=["ndots:3", "debug"])
    assert body(text) == ["nameserver 1.1.1.1", "nameserver 127.0.0.1", "search foo.bar", "options ndots:3 debug"]
    assert "# Overrides: [nameservers search options]" in text
    assert body(files.resolv_conf(HOST, search=["."])) == ["nameserver 192.0.2.53", "options edns0 trust-ad"]


def test_the_last_search_counts_and_domain_is_one() -> None:
    assert "search b" in body(files.resolv_conf("search a\ndomain b\nnameserver 1.1.1.1\n"))


def test_a_name_server_that_is_none_is_refused() -> None:
    with pytest.raises(Internal, match=r'^bad nameserver address example: ParseAddr\("example"\): unable to parse IP$'):
        files.resolv_conf("", dns=["example"])


def test_hostname() -> None:
    assert files.hostname_file("h") == "h\n"
