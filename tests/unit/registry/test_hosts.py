"""Which hosts serve a registry: the table, mirrors of Hub, hosts.toml, certs.d, and who need not be verified."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from pier.errors import Invalid
from pier.registry.config import RegistryConfig, RegistryOptions
from pier.registry.hosts import ALL, READ, Host, Tls, hosts, insecure

HUB = "https://registry-1.docker.io/v2"
UNVERIFIED = Tls(verify=False)


def config(tmp_path: Path, **options: object) -> RegistryConfig:
    """A configuration that reads no folder of this machine."""
    return replace(RegistryConfig(certs_folders=(tmp_path / "docker",), hosts_folders=(tmp_path / "containerd", tmp_path / "own")), **options)  # type: ignore[arg-type]


def nobody(name: str) -> list[object]:
    raise AssertionError(f"{name} was looked up")


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("domain", ["", "docker.io", "index.docker.io", "registry-1.docker.io"])
def test_hub_lives_elsewhere_than_its_name_says(tmp_path: Path, domain: str) -> None:
    assert hosts(domain, config(tmp_path), "pull", nobody) == (Host(HUB),)


def test_a_registry_is_asked_by_verified_https(tmp_path: Path) -> None:
    assert hosts("reg.example.com:5000", config(tmp_path), "push", nobody) == (Host("https://reg.example.com:5000/v2", ALL, Tls()),)


@pytest.mark.parametrize(
    "name", ["127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "localhost", "localhost:5000", "reg.localhost:5000", "[::ffff:7f00:1]:80"]
)
def test_loopback_needs_no_certificate(tmp_path: Path, name: str) -> None:
    (host,) = hosts(name, config(tmp_path), "push", nobody)
    assert (host.tls, host.plain_http, host.url) == (UNVERIFIED, True, f"https://{name}/v2")


def test_a_name_that_dns_says_is_loopback_is_verified(tmp_path: Path) -> None:
    assert not insecure("reg.example.com", config(tmp_path), lambda name: [ip_address("127.0.0.1")])


@pytest.mark.parametrize(
    ("found", "expected"),
    [(["10.1.2.3"], True), (["10.1.2.3", "2001:db8::7"], True), (["10.1.2.3", "192.0.2.1"], False), ([], False)],
)
def test_configured_networks_count_for_names_with_all_their_addresses(tmp_path: Path, found: list[str], expected: bool) -> None:
    networks = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
    assert insecure("reg.corp:5000", config(tmp_path, insecure_networks=networks), lambda name: [ip_address(a) for a in found]) is expected


def test_configured_networks_count_for_addresses_without_a_lookup(tmp_path: Path) -> None:
    told = config(tmp_path, insecure_networks=(ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")))
    assert [insecure(name, told, nobody) for name in ("10.2.3.4:5000", "[2001:db8::1]:5000", "11.2.3.4")] == [True, True, False]  # type: ignore[arg-type]


def test_hub_is_verified_whatever_is_configured(tmp_path: Path) -> None:
    told = config(tmp_path, insecure_networks=(ip_network("0.0.0.0/0"),))
    assert hosts("", told, "pull", nobody)[-1].tls.verify  # type: ignore[arg-type]


def test_an_insecure_registry_is_meant_with_its_port(tmp_path: Path) -> None:
    told = config(tmp_path, insecure=frozenset({"reg.corp:5000"}))
    assert [hosts(name, told, "pull")[0].tls.verify for name in ("reg.corp:5000", "reg.corp", "reg.corp:5001")] == [False, True, True]


def test_mirrors_of_hub_are_asked_first_and_never_pushed_to(tmp_path: Path) -> None:
    told = config(tmp_path, mirrors=("https://mirror.corp/hub", "http://127.0.0.1:5000"))
    assert hosts("", told, "pull") == (
        Host("https://mirror.corp/hub/v2", READ, namespace="docker.io"),
        Host("http://127.0.0.1:5000/v2", READ, UNVERIFIED, namespace="docker.io"),
        Host(HUB),
    )
    assert hosts("", told, "push") == (Host(HUB),)
    assert hosts("reg.corp", told, "pull") == (Host("https://reg.corp/v2"),)


def test_the_scheme_of_a_mirror_is_meant(tmp_path: Path) -> None:
    told = config(tmp_path, mirrors=("https://127.0.0.1:5000",))
    assert not hosts("", told, "pull")[0].plain_http


def test_the_table_has_mirrors_certificates_and_headers_for_any_registry(tmp_path: Path) -> None:
    rows = {
        "reg.corp": RegistryOptions(mirrors=("https://cache.corp/v2",), ca="/ca.pem", headers=(("X-Of", "reg"),)),
        "cache.corp": RegistryOptions(client_cert="/c.pem", client_key="/k.pem", headers=(("X-Of", "cache"),)),
    }
    assert hosts("reg.corp", config(tmp_path, registries=rows), "resolve") == (
        Host("https://cache.corp/v2", READ, Tls(client=((Path("/c.pem"), Path("/k.pem")),)), (("X-Of", "cache"),), namespace="reg.corp"),
        Host("https://reg.corp/v2", ALL, Tls(ca=(Path("/ca.pem"),)), (("X-Of", "reg"),)),
    )


def test_a_row_for_hub_goes_before_registry_mirrors(tmp_path: Path) -> None:
    rows = {"docker.io": RegistryOptions(mirrors=("https://a", "https://b"))}
    told = config(tmp_path, registries=rows, mirrors=("https://b", "https://c"))
    assert [host.url for host in hosts("", told, "pull")] == ["https://a/v2", "https://b/v2", "https://c/v2", HUB]


def test_an_authority_for_a_registry_on_loopback_is_meant(tmp_path: Path) -> None:
    crt = write(tmp_path / "docker/127.0.0.1:5000/ca.crt")
    (host,) = hosts("127.0.0.1:5000", config(tmp_path), "pull")
    assert (host.tls, host.plain_http) == (Tls(ca=(crt,)), False)
    (told,) = hosts("127.0.0.1:5000", config(tmp_path, insecure=frozenset({"127.0.0.1:5000"})), "pull")
    assert (told.tls.verify, told.plain_http) == (False, True)


def test_certs_d_of_docker(tmp_path: Path) -> None:
    folder = tmp_path / "docker/reg.corp:5000"
    for name in ("ca.crt", "me.cert", "me.key", "README", "ca.crt.bak"):
        write(folder / name)
    (host,) = hosts("reg.corp:5000", config(tmp_path), "pull")
    assert host.tls == Tls(ca=(folder / "ca.crt",), client=((folder / "me.cert", folder / "me.key"),))
    assert hosts("reg.corp", config(tmp_path), "pull")[0].tls == Tls()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("me.cert", "missing key me.key for client certificate me.cert. CA certificates must use the extension .crt"),
        ("me.key", "missing client certificate me.cert for key me.key"),
    ],
)
def test_half_a_pair_is_refused_in_dockers_words(tmp_path: Path, name: str, says: str) -> None:
    write(tmp_path / "docker/reg.corp" / name)
    with pytest.raises(Invalid, match=says):
        hosts("reg.corp", config(tmp_path), "pull")


def test_hosts_toml_of_containerd(tmp_path: Path) -> None:
    text = """
server = "https://docker.io"
[host."https://public.example.com"]
  capabilities = ["pull"]
[host."https://private.example.com/path"]
  capabilities = ["pull", "resolve"]
  ca = "mirror.crt"
  [host."https://private.example.com/path".header]
    X-Token = ["a", "b"]
"""
    write(tmp_path / "containerd/docker.io/hosts.toml", text)
    private = Host(
        "https://private.example.com/path/v2",
        READ,
        Tls(ca=(tmp_path / "containerd/docker.io/mirror.crt",)),
        (("X-Token", "a"), ("X-Token", "b")),
        namespace="docker.io",
    )
    public = Host("https://public.example.com/v2", frozenset({"pull"}), namespace="docker.io")
    assert hosts("", config(tmp_path), "pull") == (public, private, Host(HUB))
    assert hosts("", config(tmp_path), "resolve") == (private, Host(HUB))
    assert hosts("", config(tmp_path), "push") == (Host(HUB),)


def test_hosts_toml_without_a_server_ends_at_the_registry_itself(tmp_path: Path) -> None:
    write(tmp_path / "containerd/_default/hosts.toml", '[host."http://10.0.0.1:5000"]\n')
    mirror = Host("http://10.0.0.1:5000/v2", ALL, namespace="reg.corp:5000")
    assert hosts("reg.corp:5000", config(tmp_path), "pull") == (mirror, Host("https://reg.corp:5000/v2"))


def test_a_server_that_is_another_stands_for_the_registry(tmp_path: Path) -> None:
    write(tmp_path / "own/reg.corp/hosts.toml", 'server = "https://only.corp"\n')
    assert hosts("reg.corp", config(tmp_path), "pull") == (Host("https://only.corp/v2", namespace="reg.corp"),)


def test_where_hosts_toml_is_looked_for(tmp_path: Path) -> None:
    told = config(tmp_path)
    found = []
    for place in ("containerd/_default", "own/_default", "containerd/reg.corp:5000", "own/reg.corp:5000", "containerd/reg.corp_5000_"):
        write(tmp_path / place / "hosts.toml", f'server = "https://{place.replace("/", ".").replace(":", ".").replace("_", "")}"')
        found.append(hosts("reg.corp:5000", told, "pull")[0].name)
    assert found == ["containerd.default", "own.default", "containerd.reg.corp.5000", "own.reg.corp.5000", "containerd.reg.corp5000"]


def test_what_daemon_json_says_goes_before_hosts_toml(tmp_path: Path) -> None:
    write(tmp_path / "own/_default/hosts.toml", 'server = "https://only.corp"')
    told = config(tmp_path, registries={"reg.corp": RegistryOptions()}, mirrors=("https://m",))
    assert [[host.name for host in hosts(name, told, "pull")] for name in ("reg.corp", "", "other")] == [
        ["reg.corp"],
        ["m", "registry-1.docker.io"],
        ["only.corp"],
    ]


def test_http_with_settings_of_tls_is_asked_by_tls_first(tmp_path: Path) -> None:
    text = '[host."http://192.0.2.1:5000"]\nskip_verify = true\n[host."http://192.0.2.1:80"]\nskip_verify = true\n[host."http://192.0.2.2:5000"]\n'
    write(tmp_path / "own/reg.corp/hosts.toml", text)
    first, port_80, plain, _ = hosts("reg.corp", config(tmp_path), "pull")
    assert (first.url, first.plain_http, first.tls.verify) == ("https://192.0.2.1:5000/v2", True, False)
    assert (port_80.url, port_80.plain_http) == ("http://192.0.2.1:80/v2", False)
    assert (plain.url, plain.plain_http) == ("http://192.0.2.2:5000/v2", False)


def test_skip_verify_is_for_its_host_alone(tmp_path: Path) -> None:
    write(tmp_path / "own/reg.corp/hosts.toml", 'skip_verify = true\n[host."https://m"]\n')
    mirror, server = hosts("reg.corp", config(tmp_path), "pull")
    assert (mirror.tls.verify, server.tls.verify, server.plain_http) == (True, False, False)


def test_skip_verify_false_goes_before_what_makes_it_insecure(tmp_path: Path) -> None:
    write(tmp_path / "own/127.0.0.1:5000/hosts.toml", "skip_verify = false")
    (host,) = hosts("127.0.0.1:5000", config(tmp_path), "pull")
    assert (host.tls.verify, host.plain_http) == (True, False)


def test_an_authority_in_hosts_toml_for_loopback_is_meant(tmp_path: Path) -> None:
    write(tmp_path / "own/reg.corp/hosts.toml", '[host."https://127.0.0.1:5000"]\nca = "/ca.pem"')
    assert hosts("reg.corp", config(tmp_path), "pull")[0].tls == Tls(ca=(Path("/ca.pem"),))


def test_nobody_left_to_ask(tmp_path: Path) -> None:
    write(tmp_path / "own/reg.corp/hosts.toml", 'capabilities = ["pull"]')
    with pytest.raises(Invalid, match=r"reg\.corp: no host may push: hosts\.toml gives that capability to none"):
        hosts("reg.corp", config(tmp_path), "push")


@pytest.mark.parametrize("domain", ["..", ".", "a/b", "../../etc", "a b", "a\0b", "-a", "a:b", "[::g]", "[1:2]", "a:70000", "user@a"])
def test_what_is_no_registry_is_refused_before_a_folder_is_read(tmp_path: Path, domain: str) -> None:
    with pytest.raises(Invalid, match="a registry is HOST or HOST:PORT"):
        hosts(domain, config(tmp_path), "pull")


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "own/reg.corp/hosts.toml", "server = ")
    with pytest.raises(Invalid, match=str(path)):
        hosts("reg.corp", config(tmp_path), "pull")
    path.write_bytes(b"\xff")
    with pytest.raises(Invalid, match=str(path)):
        hosts("reg.corp", config(tmp_path), "pull")


def test_an_unreadable_folder_is_named(tmp_path: Path) -> None:
    loop = tmp_path / "docker/reg.corp"
    loop.parent.mkdir()
    loop.symlink_to(loop)
    with pytest.raises(Invalid, match=r"reg\.corp"):
        hosts("reg.corp", config(tmp_path), "pull")
