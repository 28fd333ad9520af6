"""The daemon's options about registries, in a real daemon: shown by info, changed by SIGHUP, refused by name, and no password in sight."""

import json
import os
import signal
import time

import pytest

from tests.harness.commands import eventually
from tests.harness.engine import Engine


def configure(engine: Engine, **options: object) -> None:
    """Write daemon.json."""
    (engine.roots / "daemon.json").write_text(json.dumps({name.replace("_", "-"): value for name, value in options.items()}))


def test_info_shows_what_is_configured() -> None:
    engine = Engine(env={"HTTP_PROXY": "http://bob:hunter2@old:3128", "no_proxy": "10.0.0.0/8,.corp"})
    configure(engine, registry_mirrors=["https://mirror.example.com"], proxies={"https-proxy": "socks5://eve:hunter2@gate:1080"})
    with engine:
        info = engine.api.get("/info")
        assert info["RegistryConfig"] == {
            "IndexConfigs": {"docker.io": {"Name": "docker.io", "Mirrors": ["https://mirror.example.com/"], "Secure": True, "Official": True}},
            "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
            "Mirrors": ["https://mirror.example.com/"],
        }
        assert (info["HttpProxy"], info["HttpsProxy"]) == ("http://xxxxx:xxxxx@old:3128", "socks5://xxxxx:xxxxx@gate:1080")
        assert (info["NoProxy"], info["IndexServerAddress"]) == ("10.0.0.0/8,.corp", "https://index.docker.io/v1/")
        shown = engine.pier("info").ok().out
        assert " Registry Mirrors:\n  https://mirror.example.com/\n" in shown and " HTTP Proxy: http://xxxxx:xxxxx@old:3128\n" in shown
        assert "hunter2" not in shown + engine.log_text()


def test_sighup_changes_mirrors_and_insecure_registries() -> None:
    with Engine() as engine:
        configure(engine, registry_mirrors=["http://m:5000"], insecure_registries=["reg.corp:5000", "192.168.0.0/16"], max_concurrent_downloads=7)
        os.kill(engine.pid, signal.SIGHUP)
        config = eventually(lambda: (found := engine.api.get("/info")["RegistryConfig"])["Mirrors"] and found, says="the reload")
        assert config["InsecureRegistryCIDRs"] == ["192.168.0.0/16", "::1/128", "127.0.0.0/8"]
        assert config["IndexConfigs"]["reg.corp:5000"] == {"Name": "reg.corp:5000", "Mirrors": [], "Secure": False, "Official": False}
        assert "changed registry-mirrors, insecure-registries, max-concurrent-downloads" in engine.log_text()
        (event,) = engine.api("GET", "/events", since=1, until=int(time.time()) + 1, filters={"type": ["daemon"]}).ok().body.splitlines()
        event = json.loads(event)
        said = event["Actor"]["Attributes"]
        assert (said["registry-mirrors"], said["insecure-registries"]) == ('["http://m:5000"]', '["reg.corp:5000","192.168.0.0/16"]')
        assert (event["Action"], said["max-concurrent-downloads"], said["max-concurrent-uploads"]) == ("reload", "7", "5")
        configure(engine, registry_mirrors=["m:5000"])
        os.kill(engine.pid, signal.SIGHUP)
        eventually(lambda: "not reloaded: registry-mirrors: invalid mirror: no scheme specified" in engine.log_text(), says="the refusal")
        assert engine.api.get("/info")["RegistryConfig"] == config


@pytest.mark.parametrize(
    ("options", "env", "says"),
    [
        ({"registry_mirrors": ["ftp://m"]}, {}, "registry-mirrors: invalid mirror: unsupported scheme 'ftp'"),
        ({"registries": {"reg.corp": {"ca": "ca.pem"}}}, {}, "registries: reg.corp: ca: it is the absolute path of a PEM file"),
        ({}, {"HTTPS_PROXY": "ftp://u:hunter2@p"}, "HTTPS_PROXY: invalid proxy address 'ftp://xxxxx:xxxxx@p'"),
    ],
)
def test_a_daemon_does_not_start_with_what_it_cannot_use(options: dict[str, object], env: dict[str, str], says: str) -> None:
    engine = Engine(env=env)
    try:
        configure(engine, **options)
        engine.start(wait=False)
        assert eventually(lambda: engine.namespaces.exit_code(engine.pid), says="pierd ends") == 1
        assert says in engine.log_text() and "hunter2" not in engine.log_text()
        assert not engine.data_root.exists()
    finally:
        engine.close()
