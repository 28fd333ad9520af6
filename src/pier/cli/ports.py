"""The PORTS column: published and exposed ports, neighbours joined into ranges, as Docker writes them."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def display(ports: "list[dict[str, Any]]") -> str:
    """One text of the API's list of ports: `80-81/tcp, 0.0.0.0:8080->80/tcp`."""
    groups: dict[str, tuple[int, int]] = {}
    keys: list[str] = []
    result: list[str] = []
    host_mappings: list[str] = []
    ordered = sorted(ports, key=lambda port: (port["PrivatePort"], port.get("IP", ""), port.get("PublicPort", 0), port["Type"]))
    for port in ordered:
        private, public, kind = int(port["PrivatePort"]), int(port.get("PublicPort") or 0), str(port["Type"])
        key = kind
        if port.get("IP"):
            address = f"[{port['IP']}]" if ":" in port["IP"] else port["IP"]
            if public != private:
                host_mappings.append(f"{address}:{public}->{private}/{kind}")
                continue
            key = f"{address}/{kind}"
        if key not in groups:
            groups[key] = (private, private)
            keys.append(key)
            continue
        first, last = groups[key]
        if private == last + 1:
            groups[key] = (first, private)
        elif private != last:
            result.append(_range(key, first, last))
            groups[key] = (private, private)
    result.extend(_range(key, *groups[key]) for key in keys)
    return ", ".join(result + host_mappings)


def _range(key: str, first: int, last: int) -> str:
    address, slash, kind = key.rpartition("/")
    text = str(first) if first == last else f"{first}-{last}"
    return f"{address}:{text}->{text}/{kind}" if slash else f"{text}/{kind}"
