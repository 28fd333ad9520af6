"""`pier image check`: whether everything that images stand on still is what it was, and what can be done where it is not."""

import os

from pier.cli.session import Cli

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS] [IMAGE...]"
SHORT = "Verify the layers and blobs of images, and repair what is broken (Pier only)"
FLAGS = (
    ("quiet", "q", "bool", "Only show what is broken"),
    ("repair", "", "bool", "Make what is broken anew, or fetch it again from where it was pulled"),
)
ARGS = (0, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Verify, and with --repair verify again what was broken; 0 where nothing is broken (any more), else 1."""
    report = _ask(cli, options, {"Names": args})
    broken = report["Broken"]
    if options.flag("repair") and broken:
        again = {"Names": args, "Digests": [item["Digest"] for item in broken], "Repair": True}
        domains = sorted({domain for item in broken for domain in item["Registries"]})
        broken = _ask(cli, options, again, _logins(cli, domains))["Broken"]
    cli.out("".join(_line(item) for item in broken))
    left = sum(not item["Repaired"] for item in broken)
    if not options.flag("quiet"):
        from pier.cli.units import human_size

        counts = f"{report['Parts']} parts of {report['Images']} images, {human_size(report['Bytes'])}"
        state = "all are whole" if not broken else f"{left} broken" + (f", {len(broken) - left} repaired" if options.flag("repair") else "")
        cli.out(f"Verified {counts}: {state}\n")
        if left and not options.flag("repair"):
            cli.out("Try 'pier image check --repair'\n")
    return 1 if left else 0


def _ask(cli: Cli, options: "Options", body: "dict[str, Any]", headers: "list[tuple[str, str]] | None" = None) -> "Any":
    """The report of one check, its progress shown meanwhile."""
    from pier.cli.progress import show

    found: list[Any] = []
    answers = cli.client().documents("POST", "/pier/images/check", body=body, headers=headers or [])
    quiet = options.flag("quiet") or not os.isatty(1)
    show(cli, answers, 1, quiet, found.append)
    return found[-1]


def _logins(cli: Cli, domains: list[str]) -> list[tuple[str, str]]:
    """The header with who the user is at these registries, and no others."""
    import binascii

    from pier.cli.registry_auth import find
    from pier.client import jsontext
    from pier.client.credentials.servers import of_domain

    logins = {domain: login.body() for domain in domains if (login := find(cli, of_domain(domain)))}
    text = binascii.b2a_base64(jsontext.encode(logins).encode(), newline=False).decode()
    return [("X-Registry-Config", text.replace("+", "-").replace("/", "_"))] if logins else []


def _line(item: "dict[str, Any]") -> str:
    outcome = f"repaired: {item['How']}" if item["Repaired"] else item["Advice"]
    return f"{item['Kind']} {item['Digest']} of {', '.join(item['Images'])}: {item['Problem']}\n  {outcome}\n"
