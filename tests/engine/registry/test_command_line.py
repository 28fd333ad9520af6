"""What the command line asks registries itself (image copy, image tags, manifest, a login without a daemon): certificates, proxies, --insecure; and
what it says when the daemon that pulls for it dies."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.commands import Done, eventually, run
from tests.harness.engine import Engine, program
from tests.harness.registry import Authority, Basic, FakeRegistry, HttpProxy, small

Place = Callable[..., Path]
ADDRESS = "192.0.2.7"  # TEST-NET-1: no loopback, so that TLS is demanded
APP = small("app")


@pytest.fixture(autouse=True)
def address(engine: Engine) -> Iterator[None]:
    """An address in the engine's network that is not loopback's."""
    run(engine.namespaces.argv("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")).ok()
    yield
    run(engine.namespaces.argv("ip", "address", "del", f"{ADDRESS}/32", "dev", "lo")).ok()


@pytest.fixture
def pier(engine: Engine) -> Callable[..., Done]:
    """The command line in the engine's namespaces, its daemon out of reach."""

    def act(*words: str, stdin: bytes | None = None, **env: str) -> Done:
        environ = {**engine.client_env, "DOCKER_HOST": "unix:///nonexistent/sock", **env}
        return run(engine.namespaces.argv(*program("pier", "pier.cli.main"), *words), environ, stdin)

    return act


def start(engine: Engine, **options: Any) -> FakeRegistry:
    made = FakeRegistry(inside=engine.namespaces, address=ADDRESS, **options)
    made.add("app", APP, "v1")
    return made


def test_a_certificate_that_nobody_vouches_for(engine: Engine, pier: Callable[..., Done], place: Place, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with start(engine, tls=authority.server(ADDRESS)) as registry:
        done = pier("image", "tags", f"{registry.name}/app").fails(1, "certificate signed by unknown authority", "/etc/docker/certs.d/")
        assert done.out == ""
        assert pier("image", "tags", "--insecure", f"{registry.name}/app").ok().out == "v1\n"
        place(f"/etc/docker/certs.d/{registry.name}/ca.crt", authority.file.read_bytes())
        assert pier("image", "tags", f"{registry.name}/app").ok().out == "v1\n"
        assert pier("manifest", "inspect", f"{registry.name}/app:v1").ok().out.startswith("{")


def test_a_client_certificate(engine: Engine, pier: Callable[..., Done], place: Place, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.pair("me")
    with start(engine, tls=authority.server(ADDRESS, clients=True)) as registry:
        place(f"/etc/docker/certs.d/{registry.name}/ca.crt", authority.file.read_bytes())
        assert pier("image", "tags", f"{registry.name}/app").code == 1
        place(f"/etc/docker/certs.d/{registry.name}/me.cert", certificate.read_bytes())
        place(f"/etc/docker/certs.d/{registry.name}/me.key", key.read_bytes())
        assert pier("image", "tags", f"{registry.name}/app").ok().out == "v1\n"


def test_no_tls_at_all(engine: Engine, pier: Callable[..., Done]) -> None:
    with start(engine, auth=Basic({"alice": "s3cret"})) as registry:
        pier("image", "tags", f"{registry.name}/app").fails(1, "server gave HTTP response to HTTPS client")
        pier("login", "-u", "alice", "--password-stdin", registry.name, stdin=b"s3cret").fails(1, "server gave HTTP response to HTTPS client")
        assert not [text for text in registry.texts() if "authorization" in text], "a password goes nowhere without TLS unless told"
        for words in (["image", "tags"], ["manifest", "inspect"]):
            name = f"{registry.name}/app" + (":v1" if words[0] == "manifest" else "")
            pier(*words, "--insecure", name).fails(1, "no basic auth credentials")


@pytest.mark.parametrize("way", ["in", "out"])
def test_insecure_counts_for_both_names_of_a_copy(engine: Engine, pier: Callable[..., Done], way: str) -> None:
    with start(engine) as one, FakeRegistry(inside=engine.namespaces) as loopback:
        loopback.add("app", APP, "v1")
        source, target = (one, loopback) if way == "in" else (loopback, one)
        pier("image", "copy", f"{source.name}/app:v1", f"{target.name}/copy").fails(1, "server gave HTTP response to HTTPS client")
        pier("image", "copy", "--insecure", f"{source.name}/app:v1", f"{target.name}/copy").ok()
        assert target.manifest("copy", "v1") == APP.data


def test_a_proxy_of_the_environment(engine: Engine, pier: Callable[..., Done]) -> None:
    with start(engine) as registry, HttpProxy(inside=engine.namespaces) as proxy:
        env = {"HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url}
        assert pier("image", "tags", "--insecure", f"{registry.name}/app", **env).ok().out == "v1\n"
        assert proxy.asked()
        proxy.forget()
        assert pier("image", "tags", "--insecure", f"{registry.name}/app", NO_PROXY=ADDRESS, **env).ok().out == "v1\n"
        assert not proxy.asked()


def test_what_is_configured_for_daemons_is_not_the_clients(engine: Engine, pier: Callable[..., Done], place: Place) -> None:
    with start(engine) as registry:
        place(f"/etc/containerd/certs.d/{ADDRESS}_{registry.port}_/hosts.toml", 'server = "http://127.0.0.1:1"\n')
        assert pier("image", "tags", "--insecure", f"{registry.name}/app").ok().out == "v1\n"


def test_a_daemon_that_is_killed_amid_a_pull(engine: Engine) -> None:
    big = small("big", size=3_000_000)
    with FakeRegistry(inside=engine.namespaces) as slow:
        name = slow.add("big", big, "v1")
        fault = slow.fault(f"GET .*/blobs/{big.layers[0]}", rate=500_000)
        with engine.terminal("pull", name, cols=150) as terminal:
            terminal.expect("Downloading [")
            engine.kill("daemon")
            terminal.expect("the daemon's answer broke off: ")
            assert terminal.wait() == 1
        engine.start()
        assert fault.used == 1
        engine.pier("pull", "-q", name).ok()
        eventually(lambda: engine.api.get("/images/json", filters={"reference": [name]}))
        assert [request for request in slow.asked(f"GET .*/blobs/{big.layers[0]}") if "range" in request.headers], "it went on from where it was"
        engine.pier("rmi", name).ok()
