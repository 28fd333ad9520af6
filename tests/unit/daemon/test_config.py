"""Flags and daemon.json: what is taken, what is refused by name."""

from pathlib import Path

import pytest

from pier.daemon.config import Config, build, load, reloaded
from pier.daemon.options import OPTIONS, Flags, merge, parse_file, parse_flags, usage
from pier.errors import PierError


def test_flags_in_all_their_forms() -> None:
    text = "-Hunix:///a -H unix:///b --host=unix:///c -D --dns 1.1.1.1 --dns=9.9.9.9 --mtu=1400 --log-opt max-size=1m"
    flags = parse_flags(text.split())
    assert flags.values == {
        "hosts": ["unix:///a", "unix:///b", "unix:///c"], "debug": True, "dns": ["1.1.1.1", "9.9.9.9"], "mtu": 1400, "log-opts": {"max-size": "1m"},
    }  # fmt: skip
    config = build(flags.values)
    assert config.hosts == (Path("/a"), Path("/b"), Path("/c"))
    assert (config.debug, config.dns, config.mtu, config.log_opts) == (True, ("1.1.1.1", "9.9.9.9"), 1400, {"max-size": "1m"})
    assert parse_flags(["--debug=false"]).values == {"debug": False}
    assert parse_flags(["--validate", "--config-file", "/x"]) == Flags({}, config_file="/x", validate=True)


def test_the_defaults_are_those_of_the_table() -> None:
    config = build({})
    assert config == Config(config_file=config.config_file)
    assert (str(config.hosts[0]), str(config.data_root), str(config.exec_root)) == ("/run/pier.sock", "/var/lib/pier", "/run/pier")
    assert (config.shutdown_timeout_s, config.log_driver, config.live_restore, config.group) == (15, "local", True, "pier")
    assert str(config.pid_path) == "/run/pier/pierd.pid"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["-x"], "unknown shorthand flag: 'x' in -x"),
        (["stray"], "\"pierd\" accepts no arguments, got 'stray'"),
        (["--host"], "flag needs an argument: --host"),
        (["--debug=maybe"], "invalid argument 'maybe' for --debug: it is true or false"),
        (["--mtu", "big"], "invalid argument 'big' for --mtu: it is a number"),
        (["--log-opt", "x"], "invalid argument 'x' for --log-opt: it is key=value"),
    ],
)
def test_arguments_that_are_refused(arguments: list[str], text: str) -> None:
    with pytest.raises(PierError) as caught:
        parse_flags(arguments)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"hosts": ["tcp://0.0.0.0:2375"]}, "--host tcp://0.0.0.0:2375: tcp:// is not supported by Pier yet"),
        ({"hosts": ["fd://"]}, "fd:// is not supported"),
        ({"hosts": ["0.0.0.0:2375"]}, "tcp:// is not supported"),
        ({"hosts": ["unix://relative"]}, "absolute"),
        ({"hosts": ["unix:///" + "x" * 200]}, "107 bytes"),
        ({"hosts": ["what:///x"]}, "unknown scheme 'what'"),
        ({"data-root": "relative"}, "absolute path"),
        ({"exec-root": "/"}, "absolute path, and not /"),
        ({"log-level": "loud"}, "one of debug, info, warn, error, fatal"),
        ({"storage-driver": "overlay2"}, "one of erofs, unpacked"),
        ({"log-driver": "syslog"}, "one of json-file, local, none"),
        ({"bip": "172.30.0.1"}, "--bip 172.30.0.1"),
        ({"firewall": "obey"}, "--firewall obey: it is one of open, respect"),
        ({"bip": "172.30.0.0/16"}, "address of a host"),
        ({"bip": "fd00::1/64"}, "IPv6"),
        ({"bip": "172.30.0.1/16", "bridge": "br0"}, "--bip and --bridge"),
        ({"bridge": "a/b"}, "name of an interface"),
        ({"bridge": "x" * 16}, "1 to 15"),
        ({"mtu": 10}, "between 68 and 65535"),
        ({"dns": ["dns.example"]}, "not an IP address"),
        ({"dns-search": ["-bad-"]}, "not a domain"),
        ({"shutdown-timeout": -2}, "number of seconds"),
        ({"labels": ["a"]}, "key=value"),
        ({"labels": ["a=1", "a=2"]}, "conflict labels"),
        ({"default-shm-size": "much"}, "a size"),
        ({"init-path": "tini"}, "absolute path"),
        ({"registry-mirrors": ["mirror.corp"]}, "registry-mirrors: invalid mirror: no scheme specified for 'mirror.corp'"),
        ({"insecure-registries": ["-a"]}, "insecure-registries: invalid index name (-a). Cannot begin or end with a hyphen"),
        ({"max-concurrent-downloads": -1}, "invalid max concurrent downloads: -1"),
        ({"max-concurrent-uploads": -1}, "invalid max concurrent uploads: -1"),
        ({"max-download-attempts": -3}, "invalid max download attempts: -3"),
        ({"http-proxy": "ftp://p"}, "http-proxy: invalid proxy address 'ftp://p'"),
        ({"https-proxy": "socks4://u:secret@p"}, "https-proxy: invalid proxy address 'socks4://xxxxx:xxxxx@p'"),
        ({"registries": {"a/b": {}}}, "registries: a/b: a registry is HOST or HOST:PORT"),
        ({"registry-hosts-dir": "certs.d"}, "registry-hosts-dir: certs.d: it is an absolute path"),
        ({"range-download-bytes": 5}, "range-download-bytes: 5: it is 0"),
        ({"push-compression": "xz"}, "push-compression: xz: there are gzip and zstd"),
    ],
)
def test_values_that_are_refused_name_their_option(values: dict[str, object], part: str) -> None:
    with pytest.raises(PierError) as caught:
        build(values)  # type: ignore[arg-type]
    assert part in str(caught.value)


def test_sizes_and_roots() -> None:
    assert build({"default-shm-size": "64M"}).default_shm_size_bytes == 64 << 20
    assert build({"default-shm-size": "1gb"}).default_shm_size_bytes == 1 << 30
    assert build({"hosts": ["/tmp/x.sock"]}).hosts == (Path("/tmp/x.sock"),)
    assert build({"shutdown-timeout": -1}).shutdown_timeout_s == -1


def test_a_file_with_unknown_keys_is_refused_by_name() -> None:
    with pytest.raises(PierError, match="don't match any configuration option: features, zz"):
        parse_file(b'{"zz":1,"debug":true,"features":[]}', "/f")


@pytest.mark.parametrize(
    ("text", "said"),
    [(b'{"http-proxy":"http://p"}', "http-proxy"), (b'{"proxies":{"ftp-proxy":"x"}}', "ftp-proxy"), (b'{"proxies":{"mtu":1}}', "mtu")],
)
def test_what_stands_in_the_wrong_place_is_refused_by_name(text: bytes, said: str) -> None:
    with pytest.raises(PierError, match=f"don't match any configuration option: {said}"):
        parse_file(text, "/f")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (b"{", "invalid JSON"),
        (b"[]", "JSON object"),
        (b'{"mtu":"x"}', "mtu: Expected `int`"),
        (b'{"dns":"x"}', "dns"),
        (b'{"proxies":"x"}', "proxies: Expected `object`"),
        (b'{"registries":{"a":1}}', "registries: Expected `object`"),
    ],
)
def test_broken_files(text: bytes, part: str) -> None:
    with pytest.raises(PierError) as caught:
        parse_file(text, "/etc/f")
    assert str(caught.value).startswith("unable to configure the Pier daemon with file /etc/f: ")
    assert part in str(caught.value)


def test_flag_and_file_may_not_say_the_same_thing() -> None:
    with pytest.raises(PierError) as caught:
        merge({"debug": True, "dns": ["1.1.1.1"]}, {"debug": False, "dns": ["2.2.2.2", "3.3.3.3"], "mtu": 1}, "/f")
    assert str(caught.value) == (
        "unable to configure the Pier daemon with file /f: the following directives are specified both as a flag and in the "
        "configuration file: debug: (from flag: true, from file: false), dns: (from flag: [1.1.1.1], from file: [2.2.2.2 3.3.3.3])"
    )
    assert merge({"debug": True}, {"mtu": 1400}, "/f") == {"debug": True, "mtu": 1400}


def test_proxies_stand_in_a_group_of_the_file_and_their_passwords_are_not_told() -> None:
    file = parse_file(b'{"proxies":{"http-proxy":"http://u:secret@p","no-proxy":"*"},"registries":{"r":{"insecure":true}}}', "/f")
    assert build(file).no_proxy == "*" and "secret" not in repr(build(file))
    with pytest.raises(PierError) as caught:
        merge({"http-proxy": "http://a:hidden@q"}, file, "/f")
    assert "http-proxy: (from flag: http://xxxxx:xxxxx@q, from file: http://xxxxx:xxxxx@p)" in str(caught.value)


def test_a_flag_without_a_name_is_none() -> None:
    with pytest.raises(PierError, match="unknown flag: --"):
        parse_flags(["--", "x"])


def test_loading_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"live-restore": false, "hosts": ["unix:///x"], "labels": ["a=b"]}')
    config = load(parse_flags(["--config-file", str(file), "-D"]))
    assert (config.live_restore, config.hosts, config.labels, config.debug) == (False, (Path("/x"),), ("a=b",), True)
    with pytest.raises(PierError, match="it does not exist"):
        load(parse_flags(["--config-file", str(tmp_path / "none")]))
    file.write_text("")
    assert load(parse_flags(["--config-file", str(file)])).live_restore is True


def test_a_reload_changes_what_can_and_names_the_rest() -> None:
    now = build({"labels": ["a=1"], "mtu": 1500})
    then = build({"labels": ["a=2"], "mtu": 1400, "debug": True})
    config, changed, late = reloaded(now, then)
    assert (config.labels, config.debug, config.mtu) == (("a=2",), True, 1500)
    assert (sorted(changed), late) == (["debug", "labels"], ["mtu"])


def test_every_option_has_a_place_in_the_configuration_and_in_the_help() -> None:
    for option in OPTIONS:
        value: object = {"bool": True, "int": 1400, "str": "/x", "list": [], "map": {}, "rows": {}, "objects": []}[option.kind]
        good = {
            "group": "g", "log-level": "info", "bip": "172.30.0.1/16", "bridge": "br0", "storage-driver": "erofs", "log-driver": "none",
            "default-shm-size": "1M", "http-proxy": "http://p", "https-proxy": "http://p", "range-download-bytes": 0,
            "push-compression": "zstd", "firewall": "respect",
        }  # fmt: skip
        build({option.key: good.get(option.key, value)})  # type: ignore[dict-item]
        assert (f"--{option.flag} " if option.flag else f"  {option.key} ") in usage()


def test_address_pools_as_flags_and_in_the_file() -> None:
    file = parse_file(b'{"default-address-pools": [{"base": "10.9.0.0/16", "size": 24}, {"base": "fd00:9::/48", "size": 64}]}', "f")
    flags = parse_flags(["--default-address-pool", "base=10.9.0.0/16,size=24", "--default-address-pool", "base=fd00:9::/48,size=64"])
    assert build(file) == build(flags.values)
    assert [(str(pool), size) for pool, size in build(file).default_address_pools] == [("10.9.0.0/16", 24), ("fd00:9::/48", 64)]


@pytest.mark.parametrize(
    "text", ["base=10.0.0.0/8", "base=10.0.0.1/8,size=24", "base=10.0.0.0/8,size=4", "base=10.0.0.0/8,size=32", "base=x,size=24"]
)
def test_bad_address_pools(text: str) -> None:
    with pytest.raises(PierError, match="default-address-pool"):
        build({"default-address-pools": [text]})
