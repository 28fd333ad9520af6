"""One attached container, from the hijacked connection to the exit status: what run, start, attach and exec share."""

import posix

from pier.cli.session import Cli, CommandError
from pier.cli.streams import DETACHED, Attached, DaemonStreamError
from pier.cli.terminal import DEFAULT_DETACH_KEYS, RawMode, parse_detach_keys, size
from pier.client import jsontext
from pier.client.session import ApiError, ConnectionFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.signals import Signals
    from pier.client.connection import Response

RESIZE_TRIES = 10


def require_terminal() -> None:
    """Refuse a terminal's session where stdin is none. Raises CommandError."""
    if not posix.isatty(0):
        raise CommandError("the input device is not a TTY")


class Session:
    """Attach, wait, start, stream; a context manager that gives the terminal and the signals back whatever happens."""

    def __init__(
        self,
        cli: Cli,
        container_id: str,
        *,
        tty: bool,
        stdin: bool,
        stdout: bool = True,
        stderr: bool = True,
        detach_keys: str = "",
        sig_proxy: bool = True,
    ) -> None:
        self.cli = cli
        self.client = cli.client()
        self.path = f"/containers/{container_id}"
        self.container_id = container_id
        self.tty = tty
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.detach_keys = detach_keys or cli.setting("detachKeys")
        self.sig_proxy = sig_proxy
        self.waiting: Response | None = None
        self._stream: Response | None = None
        self._first = b""
        self._tries = 0
        self._asked_to_end = 0
        self._signals: Signals | None = None
        self._raw = RawMode(0, wanted=tty and stdin)

    def __enter__(self) -> "Session":
        if not (self.sig_proxy or self.tty):
            return self
        from pier.cli.signals import ENDING, PROXIED, WINCH, Signals

        numbers = PROXIED if self.sig_proxy else ENDING if self.tty and self.stdin else ()
        if self.tty:
            numbers = (*numbers, WINCH)
        if numbers:
            self._signals = Signals(numbers).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.restore()
        if self._signals is not None:
            self._signals.__exit__()
            self._signals = None

    def attach(self) -> None:
        """Hijack the container's streams. Raises ApiError."""
        params = [("stream", "1")]
        if self.detach_keys:
            params.insert(0, ("detachKeys", self.detach_keys))
        for name in ("stderr", "stdin", "stdout"):
            if getattr(self, name):
                params.append((name, "1"))
        self.use(*self.client.hijack(f"{self.path}/attach", params))

    def attach_and_wait(self, condition: str) -> None:
        """`attach` and `wait` in the time of one: the wait is on its way before the attach is answered. Raises ApiError."""
        self.client.meanwhile = lambda: self.wait(condition)
        try:
            self.attach()
        except BaseException:
            if self.waiting is not None:
                self.waiting.close()
                self.waiting = None
            raise

    def use(self, response: "Response", first: bytes) -> None:
        """Stream over this hijacked connection."""
        self._stream, self._first = response, first

    def wait(self, condition: str = "") -> None:
        """Register for the container's exit; returns when the daemon has, so what is started after it is not missed."""
        self.waiting = self.client.open("POST", f"{self.path}/wait", [("condition", condition)] if condition else [])

    def start(self) -> None:
        """Start the container. Raises ApiError."""
        self.client.post(f"{self.path}/start")

    def exit_status(self) -> int:
        """The exit status that the registered wait gives."""
        if self.waiting is None:
            return 0
        try:
            answer = jsontext.decode(self.waiting.read() or b"{}")
        except ConnectionFailed as error:
            return self._status_of_the_next_daemon(error)
        finally:
            self.waiting.close()
        if (answer.get("Error") or {}).get("Message"):
            self.cli.err(f"Error waiting for container: {answer['Error']['Message']}\n")
            return 125
        return int(answer.get("StatusCode", 0))

    def _status_of_the_next_daemon(self, broken: ConnectionFailed) -> int:
        """The daemon ended while it was asked: the one that took over knows the status, unless the container is removed."""
        try:
            return int(self.client.post(f"{self.path}/wait")["StatusCode"])
        except (ApiError, ConnectionFailed):
            self.cli.err(f"error waiting for container: {broken}\n")
            return 125

    def pump(self, resize_path: str = "") -> str:
        """Stream until the end; ENDED, DETACHED or STOPPED. `resize_path`: where the terminal's size is told."""
        if self._stream is None:
            raise CommandError("not attached")
        try:
            keys = parse_detach_keys(self.detach_keys or DEFAULT_DETACH_KEYS) if self.tty and self.stdin else b""
        except ValueError:
            keys = parse_detach_keys(DEFAULT_DETACH_KEYS)
        attached = Attached(
            self._stream.sock,
            self._first,
            raw=self.tty,
            stdin_fd=0 if self.stdin else -1,
            stdout=self.stdout,
            stderr=self.stderr,
            keys=keys,
        )
        if self._signals is not None:
            attached.watch(self._signals.fd, lambda: self._on_signals(resize_path))
        if self.waiting is not None and not self.stdout and not self.stderr:
            attached.watch(self.waiting.fileno(), lambda: True)
        if self.tty and resize_path and posix.isatty(1) and not self._resize(resize_path):
            attached.later(10, lambda: None if self._resize(resize_path) or self._tries > RESIZE_TRIES else 10 * self._tries)
        with self._raw:
            try:
                return attached.run()
            except DaemonStreamError as error:
                self._raw.restore()
                raise CommandError(str(error)) from None

    def stream(self) -> int:
        """Pump, and the container's exit status; 0 when the user detached."""
        if self.pump(f"{self.path}/resize") == DETACHED:
            return 0
        return self.exit_status()

    def redraw(self) -> None:
        """Make a program that draws its screen draw it again: its terminal grows by one, and gets its size when streaming begins."""
        self._resize(f"{self.path}/resize", 1)
        self._tries = 0

    def _resize(self, path: str, more: int = 0) -> bool:
        rows, columns = size()
        self._tries += 1
        if not rows and not columns:
            return True
        try:
            self.client.post(path, [("h", str(rows + more)), ("w", str(columns + more))])
        except ApiError:
            return False  # not running yet, or not any more
        return True

    def _on_signals(self, resize_path: str) -> bool:
        from pier.cli.signals import SIGINT, SIGTERM, WINCH, name_of

        if self._signals is None:
            return False
        for number in self._signals.take():
            if number == WINCH:
                self._resize(resize_path)
            elif self.sig_proxy:
                self._asked_to_end += number in (SIGINT, SIGTERM)
                if self._asked_to_end == 3:
                    self._raw.restore()
                    raise CommandError("\ngot 3 SIGTERM/SIGINTs, forcefully exiting", 1)
                try:
                    self.client.post(f"{self.path}/kill", [("signal", name_of(number))])
                except ApiError:
                    pass  # it ended meanwhile; the wait tells
            else:
                self._raw.restore()
                raise CommandError("", 128 + number)
        return False
