"""`pier system dial-stdio`: this process as a connection to the daemon, for clients that come by ssh. As Docker's hidden command of that name."""

import posix
import threading

from pier.cli.session import Cli, CommandError, check_host, write_all
from pier.client.connection import Unreachable, dial

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from pier.cli.flags import Options

USAGE = ""
SHORT = "Proxy the stdio stream to the daemon connection. Should not be invoked manually."
FLAGS = ()
ARGS = (0, 0)
_READ_BYTES = 64 << 10
_SHUT_WR = 1


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Copy both ways till the daemon closes; 0. The end of stdin is passed on, since what the daemon has to say may come after it."""
    try:
        sock = dial(check_host(cli.endpoint.host))
    except Unreachable as error:
        raise CommandError(f"failed to open the raw stream connection: {error}") from None
    return relay(sock, 0, 1)


def relay(sock: "_socket.socket", read_fd: int, write_fd: int) -> int:
    """Copy `read_fd` to the socket and the socket to `write_fd`, till the socket ends or nobody reads; 0.

    Each way has its thread: one that waits for room must not keep the other from making some.
    """

    def there() -> None:
        try:
            while data := posix.read(read_fd, _READ_BYTES):
                sock.sendall(data)
            sock.shutdown(_SHUT_WR)
        except OSError:
            pass  # the daemon has closed: what it said last is on its way in the other direction

    threading.Thread(target=there, daemon=True).start()
    try:
        while data := sock.recv(_READ_BYTES):
            write_all(write_fd, data)
    except (BrokenPipeError, ConnectionResetError):
        pass
    return 0
