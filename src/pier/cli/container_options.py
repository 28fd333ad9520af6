"""The flags of `run` and `create`, and the request body made of them, field by field as Docker's client sends it."""

from pier.cli import container_values as values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pier.cli.flags import Flag, Options

FLAGS: "tuple[Flag, ...]" = (
    ("add-host", "", "list", "Add a custom host-to-IP mapping (host:ip)"),
    ("annotation", "", "map", "Add an annotation to the container (passed through to the OCI runtime) (default map[])"),
    ("attach", "a", "list", "Attach to STDIN, STDOUT or STDERR"),
    ("blkio-weight", "", "uint16", "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)"),
    ("blkio-weight-device", "", "list", "Block IO weight (relative device weight) (default [])"),
    ("cap-add", "", "list", "Add Linux capabilities"),
    ("cap-drop", "", "list", "Drop Linux capabilities"),
    ("cgroup-parent", "", "string", "Optional parent cgroup for the container"),
    (
        "cgroupns",
        "",
        "string",
        "Cgroup namespace to use (host|private)\n"
        "'host':    Run the container in the host's cgroup namespace\n"
        "'private': Run the container in its own private cgroup namespace\n"
        "'':        Use the cgroup namespace as configured by the\n"
        "           default-cgroupns-mode option on the daemon (default)",
    ),
    ("cidfile", "", "string", "Write the container ID to the file"),
    ("cpu-count", "", "int", "CPU count (Windows only)"),
    ("cpu-percent", "", "int", "CPU percent (Windows only)"),
    ("cpu-period", "", "int", "Limit CPU CFS (Completely Fair Scheduler) period"),
    ("cpu-quota", "", "int", "Limit CPU CFS (Completely Fair Scheduler) quota"),
    ("cpu-rt-period", "", "int", "Limit CPU real-time period in microseconds"),
    ("cpu-rt-runtime", "", "int", "Limit CPU real-time runtime in microseconds"),
    ("cpu-shares", "c", "int", "CPU shares (relative weight)"),
    ("cpus", "", "decimal", "Number of CPUs"),
    ("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)"),
    ("cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)"),
    ("device", "", "list", "Add a host device to the container"),
    ("device-cgroup-rule", "", "list", "Add a rule to the cgroup allowed devices list"),
    ("device-read-bps", "", "list", "Limit read rate (bytes per second) from a device (default [])"),
    ("device-read-iops", "", "list", "Limit read rate (IO per second) from a device (default [])"),
    ("device-write-bps", "", "list", "Limit write rate (bytes per second) to a device (default [])"),
    ("device-write-iops", "", "list", "Limit write rate (IO per second) to a device (default [])"),
    ("disable-content-trust", "", "bool", "Skip image verification (default true)"),
    ("dns", "", "list", "Set custom DNS servers"),
    ("dns-option", "", "list", "Set DNS options"),
    ("dns-search", "", "list", "Set custom DNS search domains"),
    ("domainname", "", "string", "Container NIS domain name"),
    ("entrypoint", "", "string", "Overwrite the default ENTRYPOINT of the image"),
    ("env", "e", "list", "Set environment variables"),
    ("env-file", "", "list", "Read in a file of environment variables"),
    ("expose", "", "list", "Expose a port or a range of ports"),
    ("gpus", "", "gpu-request", "GPU devices to add to the container ('all' to pass all GPUs)"),
    ("group-add", "", "list", "Add additional groups to join"),
    ("health-cmd", "", "string", "Command to run to check health"),
    ("health-interval", "", "duration", "Time between running the check (ms|s|m|h) (default 0s)"),
    ("health-retries", "", "int", "Consecutive failures needed to report unhealthy"),
    ("health-start-interval", "", "duration", "Time between running the check during the start period (ms|s|m|h) (default 0s)"),
    (
        "health-start-period",
        "",
        "duration",
        "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)",
    ),
    ("health-timeout", "", "duration", "Maximum time to allow one check to run (ms|s|m|h) (default 0s)"),
    ("hostname", "h", "string", "Container host name"),
    ("init", "", "bool", "Run an init inside the container that forwards signals and reaps processes"),
    ("interactive", "i", "bool", "Keep STDIN open even if not attached"),
    ("io-maxbandwidth", "", "bytes", "Maximum IO bandwidth limit for the system drive (Windows only)"),
    ("io-maxiops", "", "uint", "Maximum IOps limit for the system drive (Windows only)"),
    ("ip", "", "string", "IPv4 address (e.g., 172.30.100.104)"),
    ("ip6", "", "string", "IPv6 address (e.g., 2001:db8::33)"),
    ("ipc", "", "string", "IPC mode to use"),
    ("isolation", "", "string", "Container isolation technology"),
    ("kernel-memory", "", "bytes", "Kernel memory limit"),
    ("label", "l", "list", "Set meta data on a container"),
    ("label-file", "", "list", "Read in a line delimited file of labels"),
    ("link", "", "list", "Add link to another container"),
    ("link-local-ip", "", "list", "Container IPv4/IPv6 link-local addresses"),
    ("log-driver", "", "string", "Logging driver for the container"),
    ("log-opt", "", "list", "Log driver options"),
    ("mac-address", "", "string", "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    ("memory", "m", "bytes", "Memory limit"),
    ("memory-reservation", "", "bytes", "Memory soft limit"),
    ("memory-swap", "", "bytes", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
    ("memory-swappiness", "", "int", "Tune container memory swappiness (0 to 100) (default -1)"),
    ("mount", "", "mount", "Attach a filesystem mount to the container"),
    ("name", "", "string", "Assign a name to the container"),
    ("network", "", "network", "Connect a container to a network"),
    ("network-alias", "", "list", "Add network-scoped alias for the container"),
    ("no-healthcheck", "", "bool", "Disable any container-specified HEALTHCHECK"),
    ("oom-kill-disable", "", "bool", "Disable OOM Killer"),
    ("oom-score-adj", "", "int", "Tune host's OOM preferences (-1000 to 1000)"),
    ("pid", "", "string", "PID namespace to use"),
    ("pids-limit", "", "int", "Tune container pids limit (set -1 for unlimited)"),
    ("platform", "", "string", "Set platform if server is multi-platform capable"),
    ("privileged", "", "bool", "Give extended privileges to this container"),
    ("publish", "p", "list", "Publish a container's port(s) to the host"),
    ("publish-all", "P", "bool", "Publish all exposed ports to random ports"),
    ("pull", "", "string", 'Pull image before creating ("always", "|missing", "never") (default "missing")'),
    ("quiet", "q", "bool", "Suppress the pull output"),
    ("read-only", "", "bool", "Mount the container's root filesystem as read only"),
    ("restart", "", "string", 'Restart policy to apply when a container exits (default "no")'),
    ("rm", "", "bool", "Automatically remove the container and its associated anonymous volumes when it exits"),
    ("runtime", "", "string", "Runtime to use for this container"),
    ("security-opt", "", "list", "Security Options"),
    ("shm-size", "", "bytes", "Size of /dev/shm"),
    ("stop-signal", "", "string", "Signal to stop the container"),
    ("stop-timeout", "", "int", "Timeout (in seconds) to stop a container"),
    ("storage-opt", "", "list", "Storage driver options for the container"),
    ("sysctl", "", "map", "Sysctl options (default map[])"),
    ("tmpfs", "", "list", "Mount a tmpfs directory"),
    ("tty", "t", "bool", "Allocate a pseudo-TTY"),
    ("ulimit", "", "ulimit", "Ulimit options (default [])"),
    ("use-api-socket", "", "bool", "Bind mount the API socket and required auth"),
    ("user", "u", "string", "Username or UID (format: <name|uid>[:<group|gid>])"),
    ("userns", "", "string", "User namespace to use"),
    ("uts", "", "string", "UTS namespace to use"),
    ("volume", "v", "list", "Bind mount a volume"),
    ("volume-driver", "", "string", "Optional volume driver for the container"),
    ("volumes-from", "", "list", "Mount volumes from the specified container(s)"),
    ("workdir", "w", "string", "Working directory inside the container"),
)
DETACH_KEYS: "Flag" = ("detach-keys", "", "string", "Override the key sequence for detaching a container")
RUN_FLAGS: "tuple[Flag, ...]" = tuple(
    sorted(
        [
            *FLAGS,
            ("detach", "d", "bool", "Run container in background and print container ID"),
            DETACH_KEYS,
            ("sig-proxy", "", "bool", "Proxy received signals to the process (default true)"),
        ]
    )
)
# other spellings that Docker takes without listing them
HIDDEN = {"net": "network", "net-alias": "network-alias", "dns-opt": "dns-option"}
LATER = frozenset(
    [
        "blkio-weight",
        "blkio-weight-device",
        "cgroup-parent",
        "cpu-count",
        "cpu-percent",
        "cpu-rt-period",
        "cpu-rt-runtime",
        "device-read-bps",
        "device-read-iops",
        "device-write-bps",
        "device-write-iops",
        "disable-content-trust",
        "gpus",
        "health-cmd",
        "health-interval",
        "health-retries",
        "health-start-interval",
        "health-start-period",
        "health-timeout",
        "io-maxbandwidth",
        "io-maxiops",
        "ip",
        "ip6",
        "isolation",
        "kernel-memory",
        "link",
        "link-local-ip",
        "network-alias",
        "publish",
        "publish-all",
        "runtime",
        "storage-opt",
        "use-api-socket",
        "volume-driver",
        "volumes-from",
    ]
)
DEFAULTS = {"memory-swappiness": -1, "pull": "missing", "restart": "no", "sig-proxy": True, "network": ["default"]}
PARSERS = {
    "add-host": values.extra_host,
    "attach": values.stream,
    "cpus": values.decimal_cpus,
    "device-cgroup-rule": values.device_rule,
    "dns": values.dns_server,
    "dns-search": values.dns_search,
    "env": values.environment,
    "label": values.label,
    "memory": values.memory,
    "memory-reservation": values.memory,
    "memory-swap": values.memory_swap,
    "mount": values.mount,
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
    if options.many("expose"):
        config["ExposedPorts"] = {port: {} for text in options.many("expose") for port in values.exposed(text)}
    config |= {
        "Tty": options.flag("tty"),
        "OpenStdin": interactive,
        "StdinOnce": interactive and attach_stdin,
        "Env": _environment(options, environ),
        "Cmd": command or None,
    }
    if options.flag("no-healthcheck"):
        config["Healthcheck"] = {"Test": ["NONE"]}
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
    network = options.many("network")[0]
    config["HostConfig"] = _host_config(options, binds, network)
    mac = options.text("mac-address")
    if mac and not values.is_mac_address(mac):
        raise ValueError(f"{mac} is not a valid mac address")
    # without settings of its own a network has an entry only where it is not named
    endpoints = {network: {**_ENDPOINT, "MacAddress": mac}} if network == "default" or mac else {}
    config["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    return config


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


def _host_config(options: "Options", binds: list[str], network: str) -> "dict[str, Any]":
    from pier.cli.flags import NotYet

    if network not in PREDEFINED_NETWORKS and not network.startswith("container:"):
        raise NotYet(f"--network {network}: a network of your own")
    if len(options.many("network")) > 1:
        raise NotYet("--network given more than once")
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
        "PortBindings": {},
        "RestartPolicy": _restart_policy(options),
        "AutoRemove": options.flag("rm"),
        "VolumeDriver": "",
        "VolumesFrom": None,
        "ConsoleSize": [0, 0],
    }
    if options.many("annotation"):
        host["Annotations"] = {name: value for name, _, value in (text.partition("=") for text in options.many("annotation"))}
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
        "Links": None,
        "OomScoreAdj": options.number("oom-score-adj"),
        "PidMode": _mode(options, "pid", "PID", ("host",)),
        "Privileged": options.flag("privileged"),
        "PublishAllPorts": False,
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
    name, colon, count = options.text("restart").partition(":")
    if colon and not name:
        raise ValueError("invalid restart policy format: no policy provided before colon")
    if colon:
        try:
            retries = int(count)
        except ValueError:
            raise ValueError("invalid restart policy format: maximum retry count must be an integer") from None
    else:
        retries = 0
    if options.flag("rm") and name not in ("no", ""):
        raise ValueError("conflicting options: cannot specify both --restart and --rm")
    return {"Name": name, "MaximumRetryCount": retries}


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
