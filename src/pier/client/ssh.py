"""A daemon on another machine, by way of ssh: `ssh HOST pier system dial-stdio` is a connection to it.

As Docker's clients do it (docker/cli, connhelper): ssh is the program of that name, with its own configuration, keys and agent; what it says goes to
our stderr. Imported where such an address is used, and only there.
"""

import _socket
import shlex
import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECT_TIMEOUT_S = 30
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:[]%")


class Address:
    """`ssh://[USER@]HOST[:PORT][/PATH]`, taken apart; `path` without the slash in front of it."""

    __slots__ = ("host", "path", "port", "user")

    def __init__(self, user: str, host: str, port: str, path: str) -> None:
        self.user, self.host, self.port, self.path = user, host, port, path

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        return f"ssh://{user}{self.host}{':' + self.port if self.port else ''}"


def parse(address: str) -> Address:
    """The parts of an address. Raises ValueError that says what is wrong: no host, a password, what could be taken for an option of ssh."""
    scheme, separator, rest = address.partition("://")
    if scheme != "ssh" or not separator:
        raise ValueError(f"{address}: it is not ssh://[USER@]HOST[:PORT]")
    place, _, path = rest.partition("/")
    user, at, where = place.rpartition("@")
    name, colon, port = where.rpartition(":") if ":" in where and not where.endswith("]") else (where, "", "")
    host = name
    if at and ":" in user:
        raise ValueError(f"{scheme}://...@{where}: plain-text password is not supported: use a key")
    if not host or host.startswith("-") or not _PLAIN.issuperset(host) or (":" in host and not host.startswith("[")):
        raise ValueError(f"{address}: no name of a host in it")
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise ValueError(f"{address}: {port!r} is no port")
    if at and (not user or user.startswith("-") or any(c <= " " or c == "\x7f" for c in user)):
        raise ValueError(f"{address}: no name of a user in it")
    return Address(user, host, port, path)


def command(address: Address, words: "Sequence[str]") -> list[str]:
    """The command line that runs `pier WORDS...` there. Pure."""
    options = ["-o", f"ConnectTimeout={CONNECT_TIMEOUT_S}", "-T"]
    options += ["-l", address.user] if address.user else []
    options += ["-p", address.port] if address.port else []
    return ["ssh", *options, "--", address.host.strip("[]"), shlex.join(["pier", *words])]


def dial(address: str) -> "_socket.socket":
    """A connection to the daemon at an address; its PATH is the daemon's socket there, where it is not the usual one.

    The program behind it ends with the connection. Raises ValueError, OSError where there is no ssh.
    """
    found = parse(address)
    words = ["--host", f"unix:///{found.path}"] if found.path else []
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        fd = theirs.fileno()
        subprocess.Popen(command(found, [*words, "system", "dial-stdio"]), stdin=fd, stdout=fd)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return ours
