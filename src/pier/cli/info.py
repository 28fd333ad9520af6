"""`pier info`: the state of the daemon and its host."""

from pier.cli.format_help import FORMAT_HELP
from pier.cli.session import VERSION, Cli, CommandError
from pier.client.session import ApiError, ConnectionFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS]"
SHORT = "Display system-wide information"
ALIASES = ("system info", "info")
FLAGS = (("format", "f", "string", FORMAT_HELP),)
ARGS = (0, 0)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Show client and server; 1 where no daemon answers."""
    failure = ""
    info: dict[str, Any] = {}
    try:
        info = cli.client().get("/info")
    except (ApiError, ConnectionFailed) as error:
        failure = str(error)
    if options.text("format"):
        from pier.cli.goformat.output import show_one

        client = {"Debug": cli.debug, "Version": VERSION, "Context": cli.context_name, "Plugins": [], "Warnings": None}
        document = {**info, **({"ServerErrors": [failure]} if failure else {}), "ClientInfo": client}
        show_one(cli, options.text("format"), document, "", "system.dockerInfo")
    else:
        cli.out(f"Client:\n Version:    {VERSION}\n Context:    {cli.context_name}\n Debug Mode: {_bool(cli.debug)}\n\nServer:\n")
        if not failure:
            cli.out(_server(info))
            for warning in info.get("Warnings") or []:
                cli.err(f"{warning}\n")
    if failure:
        raise CommandError(failure if options.text("format") else failure + "\nerrors pretty printing info")
    return 0


_DEBUG = (
    ("NFd", "File Descriptors"),
    ("NGoroutines", "Goroutines"),
    ("SystemTime", "System Time"),
    ("NEventsListener", "EventsListeners"),
)


def _bool(value: "Any") -> str:
    return "true" if value else "false"


def _server(info: "dict[str, Any]") -> str:
    from pier.cli.units import binary_size

    lines = [f" Containers: {info.get('Containers', 0)}"]
    lines += [f"  {state}: {info.get(f'Containers{state}', 0)}" for state in ("Running", "Paused", "Stopped")]
    lines += [f" Images: {info.get('Images', 0)}"]
    lines += [f" Server Version: {info['ServerVersion']}"] if info.get("ServerVersion") else []
    if info.get("Driver"):
        lines.append(f" Storage Driver: {info['Driver']}")
        lines += [f"  {pair[0]}: {pair[1]}" for pair in info.get("DriverStatus") or []]
    _optional(lines, info, "LoggingDriver", "Logging Driver")
    _optional(lines, info, "CgroupDriver", "Cgroup Driver")
    _optional(lines, info, "CgroupVersion", "Cgroup Version")
    plugins = info.get("Plugins") or {}
    lines.append(" Plugins:")
    lines += [f"  {name}: {' '.join(plugins.get(name) or [])}" for name in ("Volume", "Network", "Log")]
    if info.get("CDISpecDirs"):
        lines += [" CDI spec directories:", *(f"  {path}" for path in info["CDISpecDirs"])]
    lines.append(f" Swarm: {(info.get('Swarm') or {}).get('LocalNodeState', '')}")
    if info.get("Runtimes"):
        lines.append(" Runtimes: " + " ".join(sorted(info["Runtimes"])))
    _optional(lines, info, "DefaultRuntime", "Default Runtime")
    _optional(lines, info, "InitBinary", "Init Binary")
    for key, title in (("ContainerdCommit", "containerd version"), ("RuncCommit", "runc version"), ("InitCommit", "init version")):
        if key in info:
            lines.append(f" {title}: {(info[key] or {}).get('ID', '')}")
    _security(lines, info.get("SecurityOptions") or [])
    for key, title in (
        ("KernelVersion", "Kernel Version"),
        ("OperatingSystem", "Operating System"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
        ("NCPU", "CPUs"),
    ):
        _optional(lines, info, key, title)
    if info.get("MemTotal"):
        lines.append(f" Total Memory: {binary_size(info['MemTotal'])}")
    _optional(lines, info, "Name", "Name")
    _optional(lines, info, "ID", "ID")
    lines.append(f" Docker Root Dir: {info.get('DockerRootDir', '')}")
    lines.append(f" Debug Mode: {_bool(info.get('Debug'))}")
    if info.get("Debug"):
        for key, title in _DEBUG:
            lines.append(f"  {title}: {info.get(key, '')}")
    for key, title in (("HttpProxy", "HTTP Proxy"), ("HttpsProxy", "HTTPS Proxy"), ("NoProxy", "No Proxy")):
        _optional(lines, info, key, title)
    if info.get("Labels"):
        lines += [" Labels:", *(f"  {label}" for label in info["Labels"])]
    lines.append(f" Experimental: {_bool(info.get('ExperimentalBuild'))}")
    _registries(lines, info.get("RegistryConfig") or {})
    lines.append(f" Live Restore Enabled: {_bool(info.get('LiveRestoreEnabled'))}")
    if info.get("ProductLicense"):
        lines.append(f" Product License: {info['ProductLicense']}")
    for pool in info.get("DefaultAddressPools") or []:
        if " Default Address Pools:" not in lines:
            lines.append(" Default Address Pools:")
        lines.append(f"   Base: {pool.get('Base')}, Size: {pool.get('Size')}")
    return "\n".join(lines) + "\n\n"


def _optional(lines: list[str], info: "dict[str, Any]", key: str, title: str) -> None:
    if info.get(key):
        lines.append(f" {title}: {info[key]}")


def _security(lines: list[str], options: list[str]) -> None:
    if not options:
        return
    lines.append(" Security Options:")
    for option in options:
        pairs = [part.partition("=")[::2] for part in option.split(",")]
        for key, value in pairs:
            if key == "name":
                lines.append(f"  {value}")
            else:
                lines.append(f"   {key.capitalize()}: {value}")


def _registries(lines: list[str], config: "dict[str, Any]") -> None:
    insecure = [name for name, index in (config.get("IndexConfigs") or {}).items() if not index.get("Secure", True)]
    networks = [str(item) for item in config.get("InsecureRegistryCIDRs") or []]
    if insecure or networks:
        lines += [" Insecure Registries:", *(f"  {name}" for name in [*insecure, *networks])]
    if config.get("Mirrors"):
        lines += [" Registry Mirrors:", *(f"  {mirror}" for mirror in config["Mirrors"])]
