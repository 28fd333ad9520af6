"""`pier stats`: what containers use, once or as a table that renews itself each second."""

import time

from pier.cli.format_help import TABLE_FORMAT_HELP
from pier.cli.formats import Row, write
from pier.cli.session import Cli, each
from pier.cli.units import binary_size, human_size, short_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS] [CONTAINER...]"
SHORT = "Display a live stream of container(s) resource usage statistics"
ALIASES = ("container stats", "stats")
FLAGS = (
    ("all", "a", "bool", "Show all containers (default shows just running)"),
    ("format", "", "string", TABLE_FORMAT_HELP),
    ("no-stream", "", "bool", "Disable streaming stats and only pull the first result"),
    ("no-trunc", "", "bool", "Do not truncate output"),
)
ARGS = (0, None)
EVERY_S = 1.0
_COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
_CLEAR = "\033[H\033[J"


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Show; 0. Ends by Ctrl-C, or when none of the named containers is there any more."""
    text = options.text("format") or cli.setting("statsFormat")
    if args:
        each(cli, args, lambda name: cli.client().get(f"/containers/{name}/json") and None)
    before = _samples(cli, args, options.flag("all"))
    while before or not args:
        time.sleep(EVERY_S)
        now = _samples(cli, args, options.flag("all"))
        rows = [StatsRow(sample, (before.get(key) or {}).get("cpu_stats") or {}, options.flag("no-trunc")) for key, sample in now.items()]
        if not options.flag("no-stream"):
            cli.out(_CLEAR)
        write(cli, text, _COLUMNS, rows, StatsRow)
        if options.flag("no-stream"):
            return 0
        before = now
    return 0


def _samples(cli: Cli, names: list[str], everything: bool) -> "dict[str, dict[str, Any]]":
    """ID -> sample of each, with its name; what is removed meanwhile is left out."""
    from pier.client.session import ApiError

    if not names:
        listed = cli.client().get("/containers/json", [("all", "1")] if everything else [])
        names = [container["Id"] for container in listed]
    found = {}
    for name in names:
        try:
            about = cli.client().get(f"/containers/{name}/json")
            sample = cli.client().get(f"/containers/{name}/stats", [("stream", "0"), ("one-shot", "1")])
        except ApiError:
            continue
        found[about["Id"]] = {**sample, "id": about["Id"], "name": about["Name"], "asked": name}
    return found


class StatsRow(Row):
    """What one container used in the last second; nothing where it does not run, as with Docker."""

    TYPE = "*container.statsContext"
    FIELDS = ("BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs")
    HEADERS = {  # noqa: RUF012
        "Container": "CONTAINER", "ID": "CONTAINER ID", "Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT", "MemPerc": "MEM %",
        "NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS",
    }  # fmt: skip

    def __init__(self, sample: "dict[str, Any]", cpu_before: "dict[str, Any]", whole: bool = False) -> None:
        self.sample, self.before, self.whole = sample, cpu_before, whole

    def Container(self) -> str:
        """As it was asked for; the whole ID where nobody named it."""
        return str(self.sample["asked"])

    def ID(self) -> str:
        """Short unless --no-trunc."""
        identity = str(self.sample["id"])
        return identity if self.whole else short_id(identity)

    def Name(self) -> str:
        """Without the slash."""
        return str(self.sample["name"]).removeprefix("/")

    def CPUPerc(self) -> str:
        """Of one CPU: two that are busy are 200 %."""
        now = self.sample["cpu_stats"]
        used = now["cpu_usage"]["total_usage"] - (self.before.get("cpu_usage") or {}).get("total_usage", 0)
        system = now.get("system_cpu_usage", 0) - self.before.get("system_cpu_usage", 0)
        known = bool(self.before.get("system_cpu_usage")) and system > 0 and used > 0
        return f"{used / system * now.get('online_cpus', 1) * 100:.2f}%" if known else "0.00%"

    def MemUsage(self) -> str:
        """What is used and not only a cache that can go, and the limit."""
        return f"{binary_size(self._used())} / {binary_size(self._limit())}"

    def MemPerc(self) -> str:
        """Of the limit."""
        return f"{self._used() / self._limit() * 100:.2f}%" if self._limit() else "0.00%"

    def NetIO(self) -> str:
        """Received and sent, of all interfaces."""
        interfaces = (self.sample.get("networks") or {}).values()
        received, sent = (sum(one[key] for one in interfaces) for key in ("rx_bytes", "tx_bytes"))
        return f"{human_size(received, 3)} / {human_size(sent, 3)}"

    def BlockIO(self) -> str:
        """Read and written, of all devices."""
        entries = self.sample["blkio_stats"].get("io_service_bytes_recursive") or []
        read, written = (sum(one["value"] for one in entries if one["op"][:1].lower() == letter) for letter in "rw")
        return f"{human_size(read, 3)} / {human_size(written, 3)}"

    def PIDs(self) -> str:
        """Processes and threads."""
        return str(self.sample["pids_stats"].get("current", 0))

    def _used(self) -> int:
        memory = self.sample["memory_stats"]
        kept = memory.get("stats") or {}
        cache = kept.get("total_inactive_file", kept.get("inactive_file", 0))
        usage = int(memory.get("usage", 0))
        return usage - cache if cache < usage else usage

    def _limit(self) -> int:
        return int(self.sample["memory_stats"].get("limit", 0))
