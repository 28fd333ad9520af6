"""The flags of `run` and `create`, and the request body made of them, field by field as Docker's client sends it."""

from pier.cli import container_values as values
from pier.cli.flags import go_quote
from pier.cli.mount_values import mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pier.cli.flags import Options

PARSERS = {
    "add-host": values.extra_host,
    "attach": values.stream,
    "cpus": values.decimal_cpus,
    "device-cgroup-rule": values.device_rule,
    "dns": values.dns_server,
    "dns-search": values.dns_search,
    "env": values.environment,
    "health-interval": values.duration,
    "health-start-interval": values.duration,
    "health-start-period": values.duration,
    "health-timeout": values.duration,
    "label": values.label,
    "memory": values.memory,
    "memory-reservation": values.memory,
    "memory-swap": values.memory_swap,
    "mount": mount,
    "shm-size": values.memory,
    "sysctl": values.sysctl,
    "ulimit": values.ulimit,
}
PREDEFINED_NETWORKS = frozenset(["default", "bridge", "host", "none"])


def request(options: "Options", image: str, command: list[str], environ: "Mapping[str, str]") -> "dict[str, Any]":
    """The body of POST /containers/create. Raises ValueError with Docker's texts for what the flags say together; OSError."""
    attach = options.many("attach")
    interactive = options.flag("interactive")
    attach_stdin = "stdin" in attach or (interactive and not attach)
    config: dict[str, Any] = {
        "Hostname": options.text("hostname"),
        "Domainname": options.text("domainname"),
        "User": options.text("user"),
        "AttachStdin": attach_stdin,
        "AttachStdout": "stdout" in attach or not attach,
        "AttachStderr": "stderr" in attach or not attach,
    }
    exposed, bindings = _ports(options)
    if exposed:
        config["ExposedPorts"] = exposed
    config |= {
        "Tty": options.flag("tty"),
        "OpenStdin": interactive,
        "StdinOnce": interactive and attach_stdin,
        "Env": _environment(options, environ),
        "Cmd": command or None,
    }
    check = _healthcheck(options)
    if check:
        config["Healthcheck"] = check
    volumes, binds = _volumes(options)
    config |= {
        "Image": image,
        "Volumes": {target: {} for target in volumes},
        "WorkingDir": options.text("workdir"),
        "Entrypoint": _entrypoint(options),
        "OnBuild": None,
        "Labels": _labels(options),
    }
    if "stop-signal" in options.given:
        config["StopSignal"] = options.text("stop-signal")
    if "stop-timeout" in options.given:
        config["StopTimeout"] = options.number("stop-timeout")
    mode, endpoints = networks(options)
    config["HostConfig"] = _host_config(options, binds, mode, bindings)
    config["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    return config


_HEALTH = (("health-interval", "Interval"), ("health-timeout", "Timeout"), ("health-retries", "Retries"),
           ("health-start-period", "StartPeriod"), ("health-start-interval", "StartInterval"))  # fmt: skip


def _healthcheck(options: "Options") -> "dict[str, Any]":
    """What the health flags say together; empty where they say nothing. Raises ValueError with Docker's texts."""
    command = options.text("health-cmd")
    numbers = {flag: options.values[flag] or 0 for flag, _ in _HEALTH}
    given = bool(command) or any(numbers.values())
    if options.flag("no-healthcheck"):
        if given:
            raise ValueError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    for flag, value in numbers.items():
        if value < 0:
            raise ValueError(f"--{flag} cannot be negative")
    test = {"Test": ["CMD-SHELL", command]} if command else {}
    return {**test, **{name: numbers[flag] for flag, name in _HEALTH if numbers[flag]}}


def networks(options: "Options") -> "tuple[str, dict[str, dict[str, Any]]]":
    """(network mode, the settings of each network) of --network and the flags that belong to it. Raises ValueError with Docker's texts."""
    mac = options.text("mac-address")
    if mac and not values.is_mac_address(mac):
        raise ValueError(f"{mac} is not a valid mac address")
    parsed = [values.network(text) for text in options.many("network")]
    endpoints: dict[str, dict[str, Any]] = {}
    for number, (name, settings) in enumerate(parsed):
        if not number:
            _of_first(options, settings, mac)
            if options.many("link") and name not in PREDEFINED_NETWORKS and not name.startswith("container:"):
                settings["Links"] = [_link(text) for text in options.many("link")]
        if name in endpoints:
            raise ValueError(f"network {go_quote(name)} is specified multiple times")
        if name.startswith("container:") or (len(parsed) > 1 and name in ("host", "none")):
            if len(parsed) > 1:
                raise ValueError("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
            continue
        # without settings of its own a network has an entry only where it is not named, or is one of a user
        if settings or name not in PREDEFINED_NETWORKS or name == "default" or len(parsed) > 1:
            endpoints[name] = {**_ENDPOINT, **settings}
    return parsed[0][0], endpoints


def _link(text: str) -> str:
    """A value of --link. Raises ValueError with Docker's text."""
    if text.count(":") > 1:
        raise ValueError(f"invalid argument {go_quote(text)} for \"--link\" flag: bad format for links: {text}")
    return text


def _of_first(options: "Options", settings: "dict[str, Any]", mac: str) -> None:
    """Flags of their own belong to the first network; what its own value says as well is a conflict."""
    for flag, key in (("network-alias", "Aliases"), ("mac-address", "MacAddress")):
        if flag in options.given and settings.get(key):
            what = "network aliases" if flag == "network-alias" else "MAC address"
            raise ValueError(f"conflicting options: cannot specify both --{flag} and per-network {what}")
    if options.many("network-alias"):
        settings["Aliases"] = options.many("network-alias")
    if mac:
        settings["MacAddress"] = mac
    for flag, key in (("ip", "IPv4Address"), ("ip6", "IPv6Address")):
        if options.text(flag):
            config = settings.setdefault("IPAMConfig", {})
            if key in config:
                raise ValueError(f"conflicting options: cannot specify both --{flag} and per-network {'IPv4' if flag == 'ip' else 'IPv6'} address")
            if not values.is_address(options.text(flag)):
                raise ValueError(f"invalid argument {go_quote(options.text(flag))} for \"--{flag}\" flag: invalid string being converted to IP")
            config[key] = options.text(flag)
    if options.many("link-local-ip"):
        settings.setdefault("IPAMConfig", {})["LinkLocalIPs"] = options.many("link-local-ip")


_ENDPOINT = {
    "IPAMConfig": None,
    "Links": None,
    "Aliases": None,
    "MacAddress": "",
    "DriverOpts": None,
    "GwPriority": 0,
    "NetworkID": "",
    "EndpointID": "",
    "Gateway": "",
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "DNSNames": None,
}


def _ports(options: "Options") -> "tuple[dict[str, dict[str, str]], dict[str, list[dict[str, str]]]]":
    """(exposed ports, port bindings) of --publish and --expose."""
    exposed: dict[str, dict[str, str]] = {}
    bindings: dict[str, list[dict[str, str]]] = {}
    if options.many("publish"):
        from pier.cli.port_values import published

        exposed, bindings = published(options.many("publish"))
    if options.many("expose"):
        exposed = dict(sorted({**exposed, **{port: {} for text in options.many("expose") for port in values.exposed(text)}}.items()))
    return exposed, bindings


def _host_config(options: "Options", binds: list[str], network: str, bindings: "dict[str, list[dict[str, str]]]") -> "dict[str, Any]":
    swappiness = options.number("memory-swappiness")
    if not -1 <= swappiness <= 100:
        raise ValueError(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
    add, drop = values.capabilities(options.many("cap-add"), options.many("cap-drop"))
    security, masked, readonly = _security(options.many("security-opt"))
    host: dict[str, Any] = {
        "Binds": binds or None,
        "ContainerIDFile": options.text("cidfile"),
        "LogConfig": _log_config(options),
        "NetworkMode": network,
        "PortBindings": bindings,
        "RestartPolicy": _restart_policy(options),
        "AutoRemove": options.flag("rm"),
        "VolumeDriver": options.text("volume-driver"),
        "VolumesFrom": options.many("volumes-from") or None,
        "ConsoleSize": [0, 0],
    }
    if options.many("annotation"):
        host["Annotations"] = {name: value for name, _, value in (text.partition("=") for text in options.many("annotation"))}
    if options.many("egress"):
        host.setdefault("Annotations", {})["com.pier.egress"] = ",".join(options.many("egress"))
    host |= {
        "CapAdd": add or None,
        "CapDrop": drop or None,
        "CgroupnsMode": _mode(options, "cgroupns", "CGROUP", ("host", "private")),
        "Dns": options.many("dns"),
        "DnsOptions": options.many("dns-option"),
        "DnsSearch": options.many("dns-search"),
        "ExtraHosts": options.many("add-host") or None,
        "GroupAdd": options.many("group-add") or None,
        "IpcMode": options.text("ipc"),
        "Cgroup": "",
        "Links": [_link(text) for text in options.many("link")] or None,
        "OomScoreAdj": options.number("oom-score-adj"),
        "PidMode": _mode(options, "pid", "PID", ("host",)),
        "Privileged": options.flag("privileged"),
        "PublishAllPorts": options.flag("publish-all"),
        "ReadonlyRootfs": options.flag("read-only"),
        "SecurityOpt": security or None,
    }
    if options.many("tmpfs"):
        host["Tmpfs"] = {target: settings for target, _, settings in (text.partition(":") for text in options.many("tmpfs"))}
    host |= {
        "UTSMode": _mode(options, "uts", "UTS", ("host",)),
        "UsernsMode": _mode(options, "userns", "USER", ("host",)),
        "ShmSize": options.values["shm-size"] or 0,
    }
    if options.many("sysctl"):
        host["Sysctls"] = dict(text.split("=", 1) for text in options.many("sysctl"))
    if options.text("runtime"):
        host["Runtime"] = options.text("runtime")
    host |= {
        "Isolation": "",
        "CpuShares": options.number("cpu-shares"),
        "Memory": options.values["memory"] or 0,
        "NanoCpus": options.values["cpus"] or 0,
        "CgroupParent": "",
        "BlkioWeight": 0,
        "BlkioWeightDevice": [],
        "BlkioDeviceReadBps": [],
        "BlkioDeviceWriteBps": [],
        "BlkioDeviceReadIOps": [],
        "BlkioDeviceWriteIOps": [],
        "CpuPeriod": options.number("cpu-period"),
        "CpuQuota": options.number("cpu-quota"),
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpusetCpus": options.text("cpuset-cpus"),
        "CpusetMems": options.text("cpuset-mems"),
        "Devices": [values.device(text) for text in options.many("device")],
        "DeviceCgroupRules": options.many("device-cgroup-rule") or None,
        "DeviceRequests": None,
        "MemoryReservation": options.values["memory-reservation"] or 0,
        "MemorySwap": options.values["memory-swap"] or 0,
        "MemorySwappiness": swappiness,
        "OomKillDisable": options.flag("oom-kill-disable"),
        "PidsLimit": options.number("pids-limit"),
        "Ulimits": sorted({item["Name"]: item for item in options.many("ulimit")}.values(), key=lambda item: str(item["Name"])),
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    }
    if options.many("mount"):
        host["Mounts"] = options.many("mount")
    host |= {"MaskedPaths": masked, "ReadonlyPaths": readonly}
    if "init" in options.given:
        host["Init"] = options.flag("init")
    return host


def _mode(options: "Options", name: str, title: str, known: tuple[str, ...]) -> str:
    text = options.text(name)
    if text and text not in known and not (name == "pid" and text.startswith("container:") and len(text) > 10):
        raise ValueError(f"--{name}: invalid {title} mode")
    return text


def _environment(options: "Options", environ: "Mapping[str, str]") -> "list[str] | None":
    lines = [line for path in options.many("env-file") for line in values.key_value_file(path, environ)]
    for text in options.many("env"):
        # a name alone takes our value; where we have none it goes as it is, which unsets it
        lines.append(text if "=" in text or text not in environ else f"{text}={environ[text]}")
    return lines or None


def _labels(options: "Options") -> dict[str, str]:
    lines = [line for path in options.many("label-file") for line in values.key_value_file(path)]
    return {name: value for name, _, value in (text.partition("=") for text in [*lines, *options.many("label")])}


def _entrypoint(options: "Options") -> "list[str] | None":
    if "entrypoint" not in options.given:
        return None
    # --entrypoint "" clears the image's
    return [options.text("entrypoint")]


def _volumes(options: "Options") -> tuple[list[str], list[str]]:
    anonymous: list[str] = []
    binds: list[str] = []
    for text in options.many("volume"):
        kind, spec = values.volume(text)
        (binds if kind == "bind" else anonymous).append(spec)
    return anonymous, binds


def _log_config(options: "Options") -> "dict[str, Any]":
    driver = options.text("log-driver")
    settings = {name: value for name, _, value in (text.partition("=") for text in options.many("log-opt"))}
    if driver == "none" and settings:
        raise ValueError("invalid logging opts for driver none")
    return {"Type": driver, "Config": settings}


def _restart_policy(options: "Options") -> "dict[str, Any]":
    policy = values.restart_policy(options.text("restart"))
    if options.flag("rm") and policy["Name"] not in ("no", ""):
        raise ValueError("conflicting options: cannot specify both --restart and --rm")
    return policy


def _security(texts: list[str]) -> "tuple[list[str], list[str] | None, list[str] | None]":
    """(options, masked paths, read-only paths): seccomp profiles are read here, the daemon gets their JSON."""
    result: list[str] = []
    unconfined = False
    for text in texts:
        if text == "systempaths=unconfined":
            unconfined = True
            continue
        name, separator, value = text.partition("=")
        if not separator:
            name, separator, value = text.partition(":")
        if not separator and name != "no-new-privileges":
            raise ValueError(f'Invalid --security-opt: "{text}"')
        if name == "seccomp" and value not in ("unconfined", "builtin"):
            from pier.client import jsontext

            try:
                with open(value, encoding="utf-8") as file:
                    profile = file.read()
            except OSError as error:
                reason = (error.strerror or "").lower()
                raise ValueError(f"opening seccomp profile ({value}) failed: open {value}: {reason}") from None
            try:
                text = f"seccomp={jsontext.encode(jsontext.decode(profile), html=False)}"
            except ValueError as error:
                raise ValueError(f"compacting json for seccomp profile ({value}) failed: {error}") from None
        result.append(text)
    return (result, [], []) if unconfined else (result, None, None)
