"""`pier version`: of the client, and of the daemon where one answers. Never starts a daemon."""

import posix
import sys

from pier.cli.format_help import FORMAT_HELP
from pier.cli.session import VERSION, Cli, CommandError
from pier.client.session import API_VERSION, ApiError, ConnectionFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS]"
SHORT = "Show the Pier version information"
FLAGS = (("format", "f", "string", FORMAT_HELP),)
ARGS = (0, 0)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Show both sides; 1 where no daemon answers."""
    failure = None
    server = None
    api_version = cli.environ.get("DOCKER_API_VERSION") or API_VERSION
    client_os = _machine()
    try:
        client = cli.client(autostart=False)
        server = client.get("/version")
        api_version = client.version
    except (ApiError, ConnectionFailed) as error:
        failure = str(error)
    both = {
        "Client": {
            "Version": VERSION,
            "ApiVersion": api_version,
            "DefaultAPIVersion": API_VERSION,
            "GitCommit": "",
            "GoVersion": "",
            "PythonVersion": sys.version.split()[0],
            "Os": "linux",
            "Arch": client_os,
            "BuildTime": "",
            "Context": cli.context_name,
        },
        "Server": server,
    }
    if options.text("format"):
        from pier.cli.goformat.output import show_one

        show_one(cli, options.text("format"), both, "version", "system.versionInfo")
    else:
        cli.out(_text(both))
    if failure:
        raise CommandError(failure)
    return 0


def _machine() -> str:
    machine = posix.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _text(both: "dict[str, Any]") -> str:
    client = both["Client"]
    rows = [
        ("Version", client["Version"]),
        ("API version", _with_default(client["ApiVersion"])),
        ("Python version", client["PythonVersion"]),
        ("OS/Arch", f"{client['Os']}/{client['Arch']}"),
        ("Context", client["Context"]),
    ]
    text = "Client:\n" + "".join(f" {name + ':':<19}{value}\n" for name, value in rows)
    server = both["Server"]
    if server is None:
        return text
    text += "\nServer:" + (f" {server['Platform']['Name']}" if (server.get("Platform") or {}).get("Name") else "") + "\n"
    for component in server.get("Components") or []:
        details = component.get("Details") or {}
        text += f" {component['Name']}:\n  {'Version:':<18}{component.get('Version', '')}\n"
        if component["Name"] == "Engine":
            text += _engine(details)
        else:
            text += "".join(f"  {name + ':':<18}{details[name]}\n" for name in sorted(details))
    return text


def _with_default(version: str) -> str:
    return version if version == API_VERSION else f"{version} (downgraded from {API_VERSION})"


def _engine(details: "dict[str, str]") -> str:
    api = details.get("ApiVersion", "")
    if details.get("MinAPIVersion"):
        api += f" (minimum version {details['MinAPIVersion']})"
    rows = [
        ("API version", api),
        ("Go version", details.get("GoVersion", "")),
        ("Python version", details.get("PythonVersion", "")),
        ("Git commit", details.get("GitCommit", "")),
        ("Built", details.get("BuildTime", "")),
        ("OS/Arch", f"{details.get('Os', '')}/{details.get('Arch', '')}"),
        ("Experimental", details.get("Experimental", "")),
    ]
    return "".join(f"  {name + ':':<18}{value}\n" for name, value in rows if value)
