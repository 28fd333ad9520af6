"""`pier completion`: scripts for shells. They ask the same tables that --help shows; names come from the daemon."""

from pier.cli.session import Cli, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Options

USAGE = "bash|fish|zsh"
SHORT = "Generate the autocompletion script for the specified shell"
FLAGS = ()
INTERSPERSED = False
ARGS = (1, None)

BASH = """# bash completion for pier; load it with: source <(pier completion bash)
_pier() {
    local IFS=$'\\n'
    COMPREPLY=($(compgen -W "$(pier completion words "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _pier pier
"""
ZSH = """#compdef pier
# zsh completion for pier; load it with: source <(pier completion zsh)
_pier() {
    local -a found
    found=(${(f)"$(pier completion words ${words[2,CURRENT-1]} 2>/dev/null)"})
    compadd -a found || _files
}
compdef _pier pier
"""
FISH = """# fish completion for pier; load it with: pier completion fish | source
function __pier_words
    set -l words (commandline -opc)
    pier completion words $words[2..-1] 2>/dev/null
end
complete -c pier -a '(__pier_words)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
_CONTAINERS = frozenset(["attach", "exec", "inspect", "kill", "logs", "rename", "restart", "rm", "start", "stop", "top", "wait"])
_IMAGES = frozenset(["create", "history", "push", "run", "rmi", "save", "tag"])


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Print a script, or (for the scripts) the words that may follow; 0."""
    if args[0] == "words":
        cli.out("".join(f"{word}\n" for word in words(cli, args[1:])))
        return 0
    if args[0] not in SCRIPTS or len(args) > 1:
        raise CommandError(f"pier: no completion for {' '.join(args)!r}: use bash, fish or zsh")
    cli.out(SCRIPTS[args[0]])
    return 0


def words(cli: Cli, before: list[str]) -> list[str]:
    """What may follow the words typed so far: commands, flags, names of containers and images."""
    from pier.cli.index import GROUPS, LATER, SECTIONS, find

    if not before:
        return sorted(name for _, table in SECTIONS for name, (module, _) in table.items() if module or name in GROUPS)
    try:
        path, module_name, taken = find(before)
    except KeyError:
        return []
    if module_name == "group":
        return sorted(name for name, (module, _) in GROUPS[path].items() if module)
    if module_name == LATER:
        return []
    module = __import__(f"pier.cli.{module_name}", fromlist=["FLAGS"])
    later: frozenset[str] = getattr(module, "LATER", frozenset())
    found = sorted(f"--{flag[0]}" for flag in module.FLAGS if flag[0] not in later)
    return found + _names(cli, path, module_name, taken)


def _names(cli: Cli, path: str, module_name: str, taken: int) -> list[str]:
    from pier.client.session import ApiError, ConnectionFailed

    command = path.rpartition(" ")[2]
    if command == "logout":
        return _servers(cli)
    try:
        client = cli.client(autostart=False)
        if path.startswith("image ") or module_name in _IMAGES:
            return [tag for image in client.get("/images/json") for tag in image.get("RepoTags") or []]
        if path.startswith("container ") or command in _CONTAINERS:
            found = client.get("/containers/json", [("all", "1")])
            return [name.removeprefix("/") for container in found for name in container["Names"]]
    except (ApiError, ConnectionFailed):
        pass
    return []


def _servers(cli: Cli) -> list[str]:
    """Where somebody is logged in, as far as that can be seen without a helper."""
    from pier.cli.registry_auth import credentials
    from pier.client.configfile import ConfigError
    from pier.client.credentials.auth import CredentialError
    from pier.client.credentials.plain import logged_in

    try:
        return sorted({*logged_in(cli.config), *credentials(cli).sealed().logged_in()})
    except (CredentialError, ConfigError):
        return []
