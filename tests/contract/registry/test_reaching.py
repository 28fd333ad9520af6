"""Which host a registry's client really asks, and how: mirrors, hosts.toml, certificates, proxies, IPv6; seen from the servers' side."""

from dataclasses import replace
from pathlib import Path

import pytest

from pier.errors import PierError
from pier.oci.reference import parse
from pier.registry.client import Registries
from pier.registry.config import RegistryConfig, RegistryOptions, insecure_registry
from pier.registry.credentials import Credentials
from pier.registry.proxies import Proxies
from tests.harness.commands import eventually
from tests.harness.registry import Authority, Basic, BlobHost, FakeRegistry, HttpProxy, SocksProxy, TokenServer, small
from tests.harness.registry_images import Document

APP = small("app")
OTHER = small("other")
ALICE = Credentials("alice", "secret")


@pytest.fixture
def config(tmp_path: Path) -> RegistryConfig:
    """Nothing of this machine's, and no patience."""
    return RegistryConfig(certs_folders=(tmp_path / "docker",), hosts_folders=(tmp_path / "hosts",), max_attempts=1)


def pull(config: RegistryConfig, name: str, credentials: Credentials | None = None) -> Document:
    """The manifest that a name means, with the first layer's bytes looked at, too."""
    told: list[str] = []
    reference = parse(name).with_default_tag()
    repository = Registries(config).repository(reference, credentials, notice=told.append)
    found = repository.manifest(reference.digest or reference.tag or "")
    made = {APP.digest: APP, OTHER.digest: OTHER}[found.digest]
    with repository.blob(made.layers[0]) as blob:
        data = b""
        while part := blob.read(1 << 20):
            data += part
    assert data == made.blobs[1]
    return made


def test_a_mirror_of_hub_is_asked_for_hub(config: RegistryConfig) -> None:
    with FakeRegistry() as mirror:
        mirror.add("library/app", APP, "latest")
        assert pull(replace(config, mirrors=(mirror.url,)), "app") is APP
        assert {request.query.get("ns") for request in mirror.asked()} == {"docker.io"}


@pytest.mark.parametrize("how", ["down", "without it", "broken"])
def test_behind_a_mirror_stands_the_registry(config: RegistryConfig, how: str) -> None:
    with FakeRegistry() as mirror, FakeRegistry() as registry:
        name = registry.add("app", APP, "latest")
        if how == "broken":
            mirror.add("app", OTHER, "latest")
            mirror.fault("GET", status=500, times=None)
        rows = {registry.name: RegistryOptions(mirrors=("http://127.0.0.1:1" if how == "down" else mirror.url,))}
        assert pull(replace(config, registries=rows), name) is APP
        assert bool(mirror.asked()) == (how != "down") and registry.asked()


def test_a_mirror_gets_no_credentials_and_none_of_the_registrys_headers(config: RegistryConfig) -> None:
    with FakeRegistry() as mirror, FakeRegistry(auth=Basic({"alice": "secret"})) as registry:
        name = registry.add("app", APP, "latest")
        mirror.fault("GET", status=401, headers={"WWW-Authenticate": 'Basic realm="give them to me"'}, times=None)
        rows = {registry.name: RegistryOptions(mirrors=(mirror.url,), headers=(("X-Mine", "registrys"),)), mirror.name: RegistryOptions()}
        assert pull(replace(config, registries=rows), name, ALICE) is APP
        assert mirror.asked() and not any("authorization" in request.headers or "x-mine" in request.headers for request in mirror.asked())
        assert all(request.headers["x-mine"] == "registrys" for request in registry.asked())


def test_a_host_that_may_only_pull_is_not_asked_what_a_tag_means(config: RegistryConfig, tmp_path: Path) -> None:
    with FakeRegistry() as public, FakeRegistry() as registry:
        public.add("app", OTHER, "latest")  # a lie
        public.add("app", APP)
        name = registry.add("app", APP, "latest")
        folder = tmp_path / "hosts" / registry.name
        folder.mkdir(parents=True)
        (folder / "hosts.toml").write_text(f'[host."{public.url}"]\ncapabilities = ["pull"]\n[host."{public.url}".header]\nx-of = "toml"\n')
        assert pull(config, name) is APP
        assert not public.asked("/manifests/latest") and public.asked("/blobs/") and not registry.asked("/blobs/")
        assert {request.headers["x-of"] for request in public.asked()} == {"toml"}


def test_a_path_of_its_own(config: RegistryConfig, tmp_path: Path) -> None:
    with FakeRegistry() as shared:
        shared.add("cache/app", APP, "latest")
        folder = tmp_path / "hosts/reg.example.com"
        folder.mkdir(parents=True)
        (folder / "hosts.toml").write_text(f'server = "{shared.url}/v2/cache"\noverride_path = true\n')
        assert pull(config, "reg.example.com/app") is APP


def test_certificates(config: RegistryConfig, tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path / "a"), Authority(tmp_path / "b")
    with FakeRegistry(tls=authority.server(clients=True)) as registry:
        name = registry.add("app", APP, "latest")
        folder = tmp_path / "docker" / registry.name
        folder.mkdir(parents=True)
        (folder / "ca.crt").symlink_to(stranger.file)
        with pytest.raises(PierError, match="x509: certificate signed by unknown authority"):
            pull(config, name)
        (folder / "ca.crt").unlink()
        (folder / "ca.crt").symlink_to(authority.file)
        with pytest.raises(PierError, match="certificate required"):
            pull(config, name)
        cert, key = authority.pair("me")
        (folder / "me.cert").symlink_to(cert)
        (folder / "me.key").symlink_to(key)
        assert pull(config, name) is APP
        assert all(request.client_certificate for request in registry.asked())


def test_a_certificate_of_another_name(config: RegistryConfig, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "a")
    with FakeRegistry(tls=authority.server("other.example.com")) as registry:
        name = registry.add("app", APP, "latest")
        rows = {registry.name: RegistryOptions(ca=str(authority.file))}
        with pytest.raises(PierError, match="x509: "):
            pull(replace(config, registries=rows), name)
        assert pull(replace(config, registries={registry.name: RegistryOptions(insecure=True)}), name) is APP


@pytest.mark.parametrize("entry", ["127.0.0.0/8", "reg.example.com:5000"])
def test_a_secure_registry_is_never_asked_in_the_clear(config: RegistryConfig, entry: str) -> None:
    with FakeRegistry() as registry, HttpProxy({"reg.example.com:5000": ("127.0.0.1", registry.port)}) as proxy:
        registry.add("app", APP, "latest")
        told = replace(config, proxies=Proxies(proxy.url, proxy.url))
        meant = insecure_registry(entry)
        if isinstance(meant, str):
            assert pull(replace(told, insecure=frozenset({meant})), "reg.example.com:5000/app") is APP
        else:
            with pytest.raises(PierError):
                pull(replace(told, insecure_networks=(meant,)), "reg.example.com:5000/app")
            assert not registry.asked()


def test_ipv6(config: RegistryConfig) -> None:
    with FakeRegistry(address="::1") as registry:
        name = registry.add("app", APP, "latest")
        assert name.startswith("[::1]:") and pull(config, name) is APP


@pytest.mark.parametrize("kind", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("tls", [False, True])
def test_proxies(config: RegistryConfig, tmp_path: Path, kind: str, tls: bool) -> None:
    authority = Authority(tmp_path / "a")
    with FakeRegistry(tls=authority.server() if tls else None) as registry:
        registry.add("app", APP, "latest")
        made = HttpProxy if kind == "http" else SocksProxy
        with made({"reg.example.com:5000": ("127.0.0.1", registry.port)}, user="bob", password="p@ss") as proxy:
            url = f"{kind}://bob:p%40ss@{proxy.name}"
            rows = {"reg.example.com:5000": RegistryOptions(ca=str(authority.file)) if tls else RegistryOptions(insecure=True)}
            told = replace(config, registries=rows, proxies=Proxies(url, url))
            assert pull(told, "reg.example.com:5000/app", ALICE) is APP
            assert set(proxy.targets) == {"reg.example.com:5000"}
            assert not any("proxy-authorization" in request.headers for request in registry.asked())
            before = len(proxy.targets)
            wrong = replace(told, proxies=Proxies(url.replace("p%40ss", "hunter2"), url.replace("p%40ss", "hunter2")))
            with pytest.raises(PierError) as refused:
                pull(wrong, "reg.example.com:5000/app", ALICE)
            assert "hunter2" not in str(refused.value) and len(proxy.targets) == before


def test_no_proxy_and_loopback_go_past_it(config: RegistryConfig) -> None:
    with FakeRegistry() as registry, HttpProxy() as proxy:
        name = registry.add("app", APP, "latest")
        assert pull(replace(config, proxies=Proxies(proxy.url, proxy.url)), name) is APP
        with pytest.raises(PierError):
            pull(replace(config, proxies=Proxies(proxy.url, proxy.url, "10.0.0.0/8,.corp,example.invalid")), "reg.example.invalid/app")
        assert not proxy.connections


def test_the_proxy_of_a_host_goes_before_the_others(config: RegistryConfig, tmp_path: Path) -> None:
    with FakeRegistry() as registry, HttpProxy({"reg.example.com:5000": ("127.0.0.1", registry.port)}) as own, HttpProxy() as other:
        registry.add("app", APP, "latest")
        folder = tmp_path / "hosts/reg.example.com:5000"
        folder.mkdir(parents=True)
        (folder / "hosts.toml").write_text(f'server = "http://reg.example.com:5000"\nproxy = "{own.url}"\n')
        assert pull(replace(config, proxies=Proxies(other.url, other.url)), "reg.example.com:5000/app") is APP
        assert own.targets and not other.connections


def test_a_registry_that_nobody_answers_for_takes_as_long_as_it_is_given(config: RegistryConfig, tmp_path: Path) -> None:
    folder = tmp_path / "hosts/reg.example.com"
    folder.mkdir(parents=True)
    with FakeRegistry() as registry:
        registry.add("app", APP, "latest")
        (folder / "hosts.toml").write_text(f'server = "{registry.url}"\n[host."http://192.0.2.1"]\ndial_timeout = "100ms"\n')
        assert pull(config, "reg.example.com/app") is APP


@pytest.mark.parametrize("configured", [False, True])
def test_where_an_insecure_registry_leads_to_is_verified(config: RegistryConfig, tmp_path: Path, configured: bool) -> None:
    authority = Authority(tmp_path / "a")
    with FakeRegistry() as registry, BlobHost(dict(zip(APP.layers, APP.blobs[1:], strict=True)), tls=authority.server("x.example")) as cdn:
        names = {"reg.example.com:5000": ("127.0.0.1", registry.port), "cdn.example.com:443": ("127.0.0.1", cdn.port)}
        registry.add("app", APP, "latest")
        registry.fault("GET .*/blobs/", redirect=f"https://cdn.example.com/{APP.layers[0]}", times=None)
        insecure = {"reg.example.com:5000"} | ({"cdn.example.com"} if configured else set())
        with HttpProxy(names) as proxy:
            told = replace(config, proxies=Proxies(proxy.url, proxy.url), insecure=frozenset(insecure))
            if configured:
                assert pull(told, "reg.example.com:5000/app") is APP
                return
            with pytest.raises(PierError, match="x509: certificate signed by unknown authority"):
                pull(told, "reg.example.com:5000/app")
            eventually(lambda: cdn.handshakes_failed, says="the other side has noticed")
            assert not cdn.requests


def test_an_unverified_registry_leads_nobody_to_plain_http(config: RegistryConfig, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "a")
    with FakeRegistry(tls=authority.server("x.example")) as registry, BlobHost({}) as cdn, TokenServer({}) as tokens:
        names = {"reg.example.com:5000": ("127.0.0.1", registry.port), "elsewhere.example.com:80": ("127.0.0.1", cdn.port)}
        registry.add("app", APP, "latest")
        registry.fault("GET .*/blobs/", redirect="http://elsewhere.example.com/", times=None)
        with HttpProxy(names) as proxy:
            told = replace(config, proxies=Proxies(proxy.url, proxy.url), insecure=frozenset({"reg.example.com:5000"}))
            with pytest.raises(PierError, match="from https to plain http"):
                pull(told, "reg.example.com:5000/app")
            challenge = {"WWW-Authenticate": 'Bearer realm="http://elsewhere.example.com/token",service="s"'}
            registry.fault("GET .*/manifests/", status=401, headers=challenge, times=None)
            with pytest.raises(PierError, match="is on plain http: refused"):
                pull(told, "reg.example.com:5000/app", ALICE)
            assert not cdn.requests and not tokens.requests


def test_a_search_on_hub_is_made_in_ones_own_name(config: RegistryConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    results = b'{"results":[{"name":"alice/private"}]}'
    with TokenServer({"alice": "secret"}) as tokens, FakeRegistry() as index, FakeRegistry() as elsewhere:
        monkeypatch.setattr("pier.registry.search.HUB_INDEX", index.url)
        index.fault("/v1/search", status=200, body=results, times=None)
        client = Registries(config)
        assert [row.name for row in client.search("private")] == ["alice/private"]
        assert client.search("private", credentials=ALICE)
        assert [request.headers.get("authorization") for request in index.asked("/v1/search")] == [None, ALICE.basic]
        index.forget()
        challenge = {"WWW-Authenticate": f'Bearer realm="{tokens.realm}",service="s"'}
        index.fault("GET /v2/$", status=401, headers=challenge)
        index.fault("GET /v2/$", status=200, body=b"{}")
        index.fault("/v1/search", status=200, body=results, times=None)
        identity = client_identity(tokens)
        assert client.search("private", credentials=Credentials("alice", "", identity))
        assert index.asked("/v1/search")[0].headers["authorization"].startswith("Bearer ")
        assert tokens.requests[-1].body.count(b"registry%3Acatalog%3Asearch") == 1
        index.forget()
        index.fault("/v1/search", redirect=f"{elsewhere.url}/", times=None)
        with pytest.raises(PierError):
            client.search("private", credentials=ALICE)
        assert elsewhere.requests and not any("authorization" in request.headers for request in elsewhere.requests)


def client_identity(tokens: TokenServer) -> str:
    """An identity token, as a login gets one."""
    with FakeRegistry(auth=tokens) as registry:
        return Registries(RegistryConfig(certs_folders=(), hosts_folders=())).login(registry.name, ALICE).identity_token
