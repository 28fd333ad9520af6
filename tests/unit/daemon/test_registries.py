"""The options about registries as the client goes by them, and as GET /info shows them; the shapes were seen from a 28.5 engine."""

from ipaddress import ip_network
from pathlib import Path

import msgspec
import pytest

from pier.daemon.config import build, reloaded
from pier.daemon.registries import registry_config, service_config
from pier.errors import Invalid
from pier.registry.config import RegistryConfig, RegistryOptions
from pier.registry.proxies import Proxies


def test_nothing_said_is_the_default() -> None:
    assert registry_config(build({}), {}) == RegistryConfig()


def test_everything_said() -> None:
    values = {
        "registry-mirrors": ["https://m/", "https://m", "http://n/hub"],
        "insecure-registries": ["reg.corp:5000", "10.0.0.0/8", "10.1.2.3/8", "http://old.corp"],
        "max-concurrent-downloads": 7,
        "max-concurrent-uploads": 0,
        "max-download-attempts": 0,
        "https-proxy": "http://p:3128",
        "registries": {"reg.corp:5000": {"mirrors": ["https://c"]}},
        "registry-hosts-dir": "/h",
        "keep-compressed": False,
        "range-download-bytes": 0,
    }
    environment = {"HTTP_PROXY": "http://e:1", "HTTPS_PROXY": "http://e:2", "no_proxy": "a"}
    assert registry_config(build(values), environment) == RegistryConfig(  # type: ignore[arg-type]
        mirrors=("https://m", "http://n/hub"),
        insecure=frozenset({"reg.corp:5000", "old.corp"}),
        insecure_networks=(ip_network("10.0.0.0/8"),),
        registries={"reg.corp:5000": RegistryOptions(mirrors=("https://c",))},
        hosts_folders=(Path("/etc/containerd/certs.d"), Path("/h")),
        proxies=Proxies("http://e:1", "http://p:3128", "a"),
        max_downloads=7,
        max_uploads=5,
        max_attempts=5,
        keep_compressed=False,
        range_bytes=0,
    )


def test_a_proxy_of_the_environment_is_refused_by_the_name_of_its_variable() -> None:
    with pytest.raises(Invalid, match="HTTPS_PROXY: invalid proxy address"):
        registry_config(build({}), {"https_proxy": "http://"})


def test_info_where_nothing_is_configured() -> None:
    assert msgspec.to_builtins(service_config(RegistryConfig())) == {
        "IndexConfigs": {"docker.io": {"Name": "docker.io", "Mirrors": [], "Secure": True, "Official": True}},
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
        "Mirrors": None,
    }


def test_info_of_mirrors_and_insecure_registries() -> None:
    values = {
        "registry-mirrors": ["https://m"],
        "insecure-registries": ["reg.corp:5000", "10.0.0.0/8", "127.0.0.0/8"],
        "registries": {
            "docker.io": {"mirrors": ["https://first"]},
            "other.corp": {"mirrors": ["https://c"]},
            "reg.corp:5000": {},
            "x": {"insecure": True},
        },
    }
    shown = msgspec.to_builtins(service_config(registry_config(build(values), {})))  # type: ignore[arg-type]
    assert shown["InsecureRegistryCIDRs"] == ["10.0.0.0/8", "127.0.0.0/8", "::1/128"]
    assert shown["Mirrors"] == ["https://first/", "https://m/"] == shown["IndexConfigs"]["docker.io"]["Mirrors"]
    assert {name: (row["Secure"], row["Mirrors"]) for name, row in shown["IndexConfigs"].items() if name != "docker.io"} == {
        "other.corp": (True, ["https://c/"]),
        "reg.corp:5000": (False, []),
        "x": (False, []),
    }


def test_all_of_it_is_reloaded() -> None:
    now, then = build({}), build({"registry-mirrors": ["https://m"], "insecure-registries": ["r"], "registries": {"r": {}}, "http-proxy": "http://p"})
    config, changed, late = reloaded(now, then)
    assert config == then and late == []
    assert sorted(changed) == ["http-proxy", "insecure-registries", "registries", "registry-mirrors"]
