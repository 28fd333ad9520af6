"""What a command has in its hands: the streams, the configuration, and the daemon that it was told to speak to."""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pier.client.session import Client

VERSION = "0.1.0"


class CommandError(Exception):
    """A command fails with this message on stderr and this exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        self.status = status
        super().__init__(message)


class UsageError(Exception):
    """A combination of arguments that the command does not take; shown with the command's usage, exit status 1."""


def write_all(fd: int, text: "str | bytes") -> None:
    """Write everything to a descriptor. Raises BrokenPipeError where nobody reads."""
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    view = memoryview(data)
    while view:
        try:
            view = view[posix.write(fd, view) :]
        except BlockingIOError:
            # A shared terminal may have been made non-blocking by another program.
            import select

            select.select([], [fd], [])


def exists(path: str) -> bool:
    """Whether something is there that this user can see."""
    try:
        posix.stat(path)
    except (OSError, ValueError):
        return False
    return True


class Endpoint:
    """Which daemon, and why: `source` is one of host, PIER_HOST, DOCKER_HOST, context, default."""

    __slots__ = ("context", "host", "source")

    def __init__(self, host: str, source: str, context: str) -> None:
        self.host = host
        self.source = source
        self.context = context


class Cli:
    """One run of the program. `host` and `context` are the global flags' values, empty where not given."""

    def __init__(self, environ: "Mapping[str, str]", config_dir: str = "", host: str = "", context: str = "", debug: bool = False) -> None:
        self.environ = environ
        self.config_dir = config_dir or environ.get("DOCKER_CONFIG") or f"{environ.get('HOME') or '/root'}/.docker"
        self.host = host
        self.context = context
        self.debug = debug
        self._config: dict[str, Any] | None = None
        self._client: Client | None = None
        self._endpoint: Endpoint | None = None

    def out(self, text: "str | bytes") -> None:
        """Write to stdout."""
        write_all(1, text)

    def err(self, text: "str | bytes") -> None:
        """Write to stderr."""
        write_all(2, text)

    @property
    def config(self) -> "dict[str, Any]":
        """config.json of the configuration folder; a broken one is told once and counts as empty, as in Docker."""
        if self._config is None:
            if not exists(f"{self.config_dir}/config.json"):
                self._config = {}
            else:
                from pier.client.configfile import ConfigError, read

                try:
                    self._config = read(self.config_dir)
                except ConfigError as error:
                    self._config = {}
                    self.err(f"WARNING: Error loading config file: {error}\n")
        return self._config

    def setting(self, name: str) -> str:
        """A text in config.json, empty where it is missing."""
        value = self.config.get(name)
        return value if isinstance(value, str) else ""

    @property
    def context_name(self) -> str:
        """The context in use: --context; `default` where an address is given; PIER_CONTEXT, DOCKER_CONTEXT; the current one."""
        if self.context:
            return self.context
        environ = self.environ
        if self.host or environ.get("PIER_HOST") or environ.get("DOCKER_HOST"):
            return "default"
        return environ.get("PIER_CONTEXT") or environ.get("DOCKER_CONTEXT") or self.setting("currentContext") or "default"

    @property
    def endpoint(self) -> Endpoint:
        """The daemon to speak to. Raises CommandError for a context that cannot be used."""
        if self._endpoint is None:
            self._endpoint = self._resolve()
        return self._endpoint

    def _resolve(self) -> Endpoint:
        if self.host and self.context:
            raise CommandError("conflicting options: cannot specify both --host and --context")
        name = self.context_name
        if self.host:
            return Endpoint(self.host, "host", name)
        if name == "default":
            for variable in ("PIER_HOST", "DOCKER_HOST"):
                if self.environ.get(variable) and not self.context:
                    return Endpoint(self.environ[variable], variable, name)
            return Endpoint("unix:///run/pier.sock", "default", name)
        from pier.client import contexts

        try:
            host = contexts.host_of(contexts.load(self.config_dir, name))
        except contexts.ContextError as error:
            raise CommandError(f"Failed to initialize: unable to resolve docker endpoint: {error}") from None
        return Endpoint(host or "unix:///run/pier.sock", "context", name)

    def client(self, autostart: bool = True) -> "Client":
        """The connection to the daemon. `autostart`: start one where none answers and nobody named another."""
        if self._client is None:
            from pier.client.session import Client

            endpoint = self.endpoint
            host = check_host(endpoint.host)
            hook = None
            if autostart and endpoint.source == "default" and self.environ.get("PIER_AUTOSTART") != "0" and posix.geteuid() == 0:
                from pier.cli.autostart import starter

                hook = starter(self)
            headers = self.config.get("HttpHeaders")
            self._client = Client(
                host,
                self.environ.get("DOCKER_API_VERSION", "").removeprefix("v"),
                headers={str(key): str(value) for key, value in headers.items()} if isinstance(headers, dict) else None,
                on_refused=hook,
            )
        return self._client


def check_host(host: str) -> str:
    """A daemon's address in full. Raises CommandError for what is none, or of a kind that comes later, by its name."""
    scheme, separator, rest = host.partition("://")
    if not separator:
        scheme, rest = "tcp", host
    if scheme == "unix":
        return f"unix://{rest or '/run/pier.sock'}"
    if scheme == "ssh":
        from pier.client.ssh import parse

        try:
            parse(host)
        except ValueError as error:
            raise CommandError(f"Failed to initialize: unable to resolve docker endpoint: {error}") from None
        return host
    if scheme in ("http", "https", "npipe", "fd"):
        raise CommandError(f"Failed to initialize: {scheme}:// is not supported by Pier yet: use unix://")
    if scheme != "tcp" or "/" in rest.rstrip("/"):
        raise CommandError(f"Failed to initialize: unable to resolve docker endpoint: invalid bind address format: {host}")
    name, colon, port = rest.rstrip("/").rpartition(":")
    if not colon or rest.endswith("]"):
        name, port = rest.rstrip("/"), "2375"
    if not port.isdigit():
        raise CommandError(f"Failed to initialize: unable to resolve docker endpoint: invalid bind address format: {host}")
    return f"tcp://{name or 'localhost'}:{port}"


def each(cli: Cli, names: "list[str]", act: "Any") -> int:
    """Do `act(name)` for every name, print what it returns, and put all failures on stderr at the end; the exit status."""
    from pier.client.session import ApiError

    failures = []
    for name in names:
        try:
            text = act(name)
        except ApiError as error:
            failures.append(str(error))
            continue
        if text is not None:
            cli.out(text + "\n")
    if failures:
        raise CommandError("\n".join(failures))
    return 0
