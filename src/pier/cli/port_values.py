"""The values of --publish, parsed as Docker's client parses them, with its error texts (nat.ParsePortSpec of 28.5)."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

PROTOCOLS = ("tcp", "udp", "sctp")


def published(texts: list[str]) -> "tuple[dict[str, dict[str, str]], dict[str, list[dict[str, str]]]]":
    """(exposed ports, port bindings) of the API, by container port, in the order of their names. Raises ValueError with Docker's texts."""
    exposed: dict[str, dict[str, str]] = {}
    bindings: dict[str, list[dict[str, str]]] = {}
    for text in texts:
        for key, binding in _parsed(_long(text) if "=" in text else text):
            exposed[key] = {}
            bindings.setdefault(key, []).append(binding)
    return dict(sorted(exposed.items())), dict(sorted(bindings.items()))


def _long(text: str) -> str:
    """`published=8080,target=80,protocol=udp` as `8080:80/udp`."""
    fields = {"protocol": "tcp"}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise ValueError(f"invalid publish opts format (should be name=value but got '{part}')")
        fields[name] = value
    return f"{fields.get('published', '')}:{fields.get('target', '')}/{fields['protocol']}"


def _parsed(text: str) -> "list[tuple[str, dict[str, str]]]":
    """[(container port with its protocol, where on the host)] of `[[ADDRESS:]HOST[-HOST]:]PORT[-PORT][/PROTOCOL]`."""
    parts = text.split(":")
    address, host, container = ":".join(parts[:-2]), parts[-2] if len(parts) > 1 else "", parts[-1]
    container, _, protocol = container.partition("/")
    protocol = protocol.partition("/")[0] or "tcp"
    address = _address(address)
    if not container:
        raise ValueError(f"No port specified: {text}<empty>")
    first, last = _range(container, f"Invalid containerPort: {container}")
    low, high = _range(host, f"Invalid hostPort: {host}") if host else (0, 0)
    if host and last - first != high - low and first != last:
        raise ValueError(f"Invalid ranges specified for container and host Ports: {container} and {host}")
    if protocol.lower() not in PROTOCOLS:
        raise ValueError(f"Invalid proto: {protocol}")
    found = []
    for number in range(last - first + 1):
        there = "" if not host else f"{low}-{high}" if first == last and low != high else str(low + number)
        found.append((f"{first + number}/{protocol.lower()}", {"HostIp": address, "HostPort": there}))
    return found


def _range(text: str, problem: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    numbers = [int(each) for each in (first, last if dash else first) if each.isascii() and each.isdigit()]
    if len(numbers) != 2 or max(numbers) > 65535 or numbers[0] > numbers[1]:
        raise ValueError(problem)
    return numbers[0], numbers[1]


def _address(text: str) -> str:
    """An address of the host without its brackets, "" for none."""
    import socket

    if not text:
        return ""
    bare = text
    if text.startswith("["):
        if not text.endswith("]"):
            raise ValueError(f"Invalid ip address {text}: address {text}:: missing ']' in address")
        bare = text[1:-1]
    elif ":" in text:
        raise ValueError(f"Invalid ip address {text}: address {text}:: too many colons in address")
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, bare)
        except OSError:
            continue
        return bare
    raise ValueError(f"Invalid ip address: {bare}")
