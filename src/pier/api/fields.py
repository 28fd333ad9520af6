"""Plain tables of the API: names and defaults that daemon and CLI share. No imports, so that the CLI can afford it."""

VERSION = "0.1.0"  # of Pier; a test holds it against pyproject.toml
API_NEWEST = "1.51"
API_OLDEST = "1.24"

DEFAULT_SOCKET = "/run/pier.sock"
DEFAULT_DATA_ROOT = "/var/lib/pier"
DEFAULT_EXEC_ROOT = "/run/pier"
DEFAULT_CONFIG_FILE = "/etc/pier/daemon.json"
DEFAULT_GROUP = "pier"

DEFAULT_STOP_TIMEOUT_S = 10
DEFAULT_SHUTDOWN_TIMEOUT_S = 15
DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"
DEFAULT_SHM_SIZE_BYTES = 64 << 20
DEFAULT_LOG_DRIVER = "local"
LOG_DRIVERS = ("json-file", "local", "none")
NETWORK_DRIVERS = ("bridge", "host", "null")

CONTAINER_STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
WAIT_CONDITIONS = ("not-running", "next-exit", "removed")
RESTART_POLICIES = ("no", "always", "on-failure", "unless-stopped")
