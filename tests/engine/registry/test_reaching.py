"""Pulls by a real daemon: through mirrors, with authorities and client certificates of our own, through proxies, by IPv6. Docker Hub cannot be
reached from here: a mirror of it stands for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.engine import Engine
from tests.harness.registry import Authority, FakeRegistry, HttpProxy, SocksProxy, small

Configure = Callable[..., None]
Place = Callable[..., Path]
APP = small("app")


@pytest.fixture
def pull(engine: Engine) -> Iterator[Callable[..., str]]:
    """`pier pull` of a name whose image is APP; it is removed at the end."""
    pulled: list[str] = []

    def act(name: str) -> str:
        done = engine.pier("pull", name).ok()
        assert APP.digest in done.out
        pulled.append(name)
        return done.out

    yield act
    for name in pulled:
        engine.pier("rmi", name).ok()


@pytest.fixture
def refused(engine: Engine) -> Callable[..., str]:
    """What `pier pull` says when it fails."""

    def act(name: str) -> str:
        done = engine.pier("pull", name)
        assert done.code == 1 and not engine.api.get("/images/json", filters={"reference": [name]})
        return done.err

    return act


def start(engine: Engine, **options: Any) -> FakeRegistry:
    made = FakeRegistry(inside=engine.namespaces, **options)
    made.add("app", APP, "latest")
    made.add("library/app", APP, "latest")
    return made


def test_hub_through_a_mirror(engine: Engine, configure: Configure, pull: Callable[..., str]) -> None:
    with start(engine) as mirror:
        configure(registry_mirrors=["http://127.0.0.1:1", mirror.url])
        assert "docker.io/library/app:latest" in pull("app")
        assert {request.query["ns"] for request in mirror.asked("manifests")} == {"docker.io"}


@pytest.mark.parametrize("state", ["up", "down"])
def test_any_registry_through_a_mirror(engine: Engine, configure: Configure, pull: Callable[..., str], state: str) -> None:
    with start(engine) as mirror, start(engine) as registry:
        configure(registries={registry.name: {"mirrors": [mirror.url if state == "up" else "http://127.0.0.1:1"]}})
        pull(f"{registry.name}/app")
        assert bool(mirror.asked()) == (state == "up") == (not registry.asked())


def test_hosts_toml_of_containerd_is_read_anew_for_each_pull(engine: Engine, place: Place, pull: Callable[..., str]) -> None:
    with start(engine) as mirror:
        text = f'[host."{mirror.url}"]\ncapabilities = ["pull", "resolve"]\n[host."{mirror.url}".header]\nX-From = "toml"\n'
        place("/etc/containerd/certs.d/reg.example.com_5000_/hosts.toml", text)
        pull("reg.example.com:5000/app")
        assert {request.headers["x-from"] for request in mirror.asked()} == {"toml"}


def test_our_own_folder_goes_before_containerds(engine: Engine, configure: Configure, place: Place, pull: Callable[..., str]) -> None:
    with start(engine) as mirror:
        configure()
        place("/etc/containerd/certs.d/_default/hosts.toml", 'server = "http://127.0.0.1:1"')
        place(f"{engine.roots}/hosts/_default/hosts.toml", f'server = "{mirror.url}"')
        pull("reg.example.com/app")


def test_an_authority_and_a_client_certificate_in_certs_d(
    engine: Engine, place: Place, pull: Callable[..., str], refused: Callable[..., str], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    with start(engine, tls=authority.server(clients=True)) as registry:
        name, folder = f"{registry.name}/app", f"/etc/docker/certs.d/{registry.name}"
        place(f"{folder}/ca.crt", Authority(tmp_path / "stranger").file.read_bytes())
        assert "x509: certificate signed by unknown authority" in refused(name)
        place(f"{folder}/ca.crt", authority.file.read_bytes())
        assert "certificate required" in refused(name)
        cert, key = authority.pair("me")
        place(f"{folder}/me.cert", cert.read_bytes())
        assert "missing key me.key for client certificate me.cert. CA certificates must use the extension .crt" in refused(name)
        place(f"{folder}/me.key", key.read_bytes())
        pull(name)


def test_certificates_in_the_table(engine: Engine, configure: Configure, place: Place, pull: Callable[..., str], tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = (place(f"/etc/own/{path.name}", path.read_bytes()) for path in authority.pair("me"))
    ca = place("/etc/own/ca.pem", authority.file.read_bytes())
    with start(engine, tls=authority.server(clients=True)) as registry:
        row = {"ca": str(ca), "client-cert": str(cert), "client-key": str(key), "headers": {"X-Of": "table"}}
        configure(registries={registry.name: row})
        pull(f"{registry.name}/app")
        assert all(request.client_certificate and request.headers["x-of"] == "table" for request in registry.asked())


def test_insecure_by_a_network(engine: Engine, configure: Configure, place: Place, pull: Callable[..., str], refused: Callable[..., str]) -> None:
    with start(engine, address="127.0.0.1") as registry:
        place("/etc/hosts", "127.0.0.1 reg.example.com\n")
        name = f"reg.example.com:{registry.port}/app"
        assert "http: server gave HTTP response to HTTPS client" in refused(name) and not registry.asked()
        configure(insecure_registries=["127.0.0.0/8"])
        pull(name)


@pytest.mark.parametrize("tls", [False, True])
def test_loopback_by_ipv6(engine: Engine, pull: Callable[..., str], tmp_path: Path, tls: bool) -> None:
    with start(engine, address="::1", tls=Authority(tmp_path).server() if tls else None) as registry:
        pull(f"{registry.name}/app")


@pytest.mark.parametrize("kind", ["http", "socks5"])
def test_proxies_from_the_configuration(engine: Engine, configure: Configure, place: Place, pull: Callable[..., str], kind: str) -> None:
    made = HttpProxy if kind == "http" else SocksProxy
    with start(engine) as registry, made(inside=engine.namespaces, user="bob", password="hunter2") as proxy:
        proxy.names["reg.example.com:5000"] = ("127.0.0.1", registry.port)
        place("/etc/hosts", "127.0.0.1 past.example.com\n")
        past = f"past.example.com:{registry.port}"
        url = f"{kind}://bob:hunter2@{proxy.name}"
        configure(proxies={"http-proxy": url, "https-proxy": url}, insecure_registries=["reg.example.com:5000", past])
        pull("reg.example.com:5000/app")
        assert set(proxy.targets) == {"reg.example.com:5000"}
        connections = proxy.connections
        pull(f"{registry.name}/app")  # loopback
        pull(f"{past}/app")  # NO_PROXY of the environment
        assert proxy.connections == connections
        shown = engine.pier("info").ok().out
        assert "hunter2" not in shown + engine.log_text() and f"{kind}://xxxxx:xxxxx@{proxy.name}" in shown


def test_a_broken_hosts_toml_is_named(engine: Engine, place: Place, refused: Callable[..., str]) -> None:
    path = place("/etc/containerd/certs.d/reg.example.com/hosts.toml", "capabilities = 1")
    assert f"{path}: capabilities is a list" in refused("reg.example.com/app")
