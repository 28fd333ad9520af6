"""`pier context inspect`: what a context says and where it lies."""

from pier.cli.context_values import description_of
from pier.cli.format_help import FORMAT_HELP
from pier.cli.inspect import show
from pier.cli.session import Cli
from pier.client import contexts, jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "[OPTIONS] [CONTEXT] [CONTEXT...]"
SHORT = "Display detailed information on one or more contexts"
FLAGS = (("format", "f", "string", FORMAT_HELP),)
ARGS = (0, None)


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Show each, the current one where none is named."""
    return show(cli, options.text("format"), args or [cli.context_name], lambda name: _document(cli, name))


def _document(cli: Cli, name: str) -> bytes:
    found = description_of(cli, name)
    key = contexts.identifier(name)
    memory = name == contexts.DEFAULT
    storage = {
        "MetadataPath": "<IN MEMORY>" if memory else f"{cli.config_dir}/contexts/meta/{key}",
        "TLSPath": "<IN MEMORY>" if memory else f"{cli.config_dir}/contexts/tls/{key}",
    }
    keys = {} if memory else {endpoint: list(files) for endpoint, files in contexts.tls_files(cli.config_dir, name).items()}
    document = {"Name": name, "Metadata": found.get("Metadata") or {}, "Endpoints": found.get("Endpoints") or {}, "TLSMaterial": keys}
    return jsontext.encode({**document, "Storage": storage}).encode()
