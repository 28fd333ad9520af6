"""`pier context ls`: the contexts, the current one marked."""

from pier.cli.context_values import default_endpoint, warn_of_environment
from pier.cli.format_help import TABLE_FORMAT_HELP
from pier.cli.formats import Row, write
from pier.cli.session import Cli
from pier.cli.units import ellipsis
from pier.client import contexts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS]"
SHORT = "List contexts"
ALIASES = ("context ls", "context list")
FLAGS = (
    ("format", "", "string", TABLE_FORMAT_HELP),
    ("quiet", "q", "bool", "Only show context names"),
)
ARGS = (0, 0)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """List; 0."""
    current = cli.context_name
    named = [variable for variable in ("PIER_HOST", "DOCKER_HOST") if cli.environ.get(variable)]
    what = f"Current {named[0] if named else 'DOCKER_HOST'} based configuration"
    rows = [ContextRow("default", what, default_endpoint(cli), current, "")]
    for name in contexts.names(cli.config_dir):
        found = contexts.load(cli.config_dir, name)
        text = str((found.get("Metadata") or {}).get("Description") or "")
        rows.append(ContextRow(name, text, contexts.host_of(found), current, ""))
    if current not in [row.name for row in rows]:
        rows.append(ContextRow(current, "", "", current, f'context "{current}": context not found'))
    rows.sort(key=lambda row: row.name)
    if options.flag("quiet") and not options.text("format"):
        cli.out("".join(row.name + "\n" for row in rows))
    else:
        write(cli, options.text("format"), ("Name", "Description", "DockerEndpoint", "Error"), rows, ContextRow)
    if named and not cli.context:
        warn_of_environment(cli)
    return 0


class ContextRow(Row):
    """A context."""

    TYPE = "*formatter.clientContextContext"
    FIELDS = ("Current", "Description", "DockerEndpoint", "Error", "Name")
    HEADERS = {  # noqa: RUF012
        "Name": "NAME", "Description": "DESCRIPTION", "DockerEndpoint": "DOCKER ENDPOINT", "Error": "ERROR", "Current": "CURRENT",
    }  # fmt: skip

    def __init__(self, name: str, description: str, host: str, current: str, error: str) -> None:
        self.name, self.description, self.host, self.current, self.error = name, description, host, name == current, error

    def to_json(self) -> str:
        """As the base, with the bare name."""
        from pier.client import jsontext

        return jsontext.encode({**{name: self.get(name) for name in self.FIELDS}, "Name": self.name})

    def Name(self) -> str:
        """The name, with a star behind the current one."""
        return f"{self.name} *" if self.current else self.name

    def Current(self) -> bool:
        """Whether it is the one in use."""
        return self.current

    def Description(self) -> str:
        """Its description, cut to 60."""
        return ellipsis(self.description, 60)

    def DockerEndpoint(self) -> str:
        """The address."""
        return self.host

    def Error(self) -> str:
        """What is wrong with it, cut to 45."""
        return ellipsis(self.error, 45)
