"""Help pages in Docker's layout: usage, aliases, and flags wrapped at the terminal's width as pflag wraps them."""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Flag

NOT_YET = "(not yet)"
GLOBAL_FLAGS: "tuple[Flag, ...]" = (
    ("config", "", "string", 'Location of client config files (default "{config}")'),
    (
        "context",
        "c",
        "string",
        "Name of the context to use to connect to the daemon (overrides PIER_HOST and DOCKER_HOST env vars and default context set "
        'with "pier context use")',
    ),
    ("debug", "D", "bool", "Enable debug mode"),
    ("host", "H", "string", "Daemon socket to connect to"),
    ("log-level", "l", "string", 'Set the logging level ("debug", "info", "warn", "error", "fatal") (default "info")'),
    ("tls", "", "bool", "Use TLS; implied by --tlsverify"),
    ("tlscacert", "", "string", 'Trust certs signed only by this CA (default "{config}/ca.pem")'),
    ("tlscert", "", "string", 'Path to TLS certificate file (default "{config}/cert.pem")'),
    ("tlskey", "", "string", 'Path to TLS key file (default "{config}/key.pem")'),
    ("tlsverify", "", "bool", "Use TLS and verify the remote"),
    ("version", "v", "bool", "Print version information and quit"),
)
GLOBAL_LATER = frozenset(["tls", "tlscacert", "tlscert", "tlskey", "tlsverify"])


def width() -> int:
    """Columns of the terminal on stdin, 80 where there is none (what Docker's client looks at)."""
    try:
        return os.get_terminal_size(0).columns or 80
    except OSError:
        return 80


def _wrap_once(limit: int, slop: int, text: str) -> tuple[str, str]:
    if limit + slop > len(text):
        return text, ""
    head = text[:limit]
    space = max(head.rfind(" "), head.rfind("\t"), head.rfind("\n"))
    if space <= 0:
        return text, ""
    line = head.rfind("\n")
    if 0 < line < space:
        return text[:line], text[line + 1 :]
    return text[:space], text[space + 1 :]


def wrap(indent: int, columns: int, text: str) -> str:
    """`text` broken to fit behind `indent` columns; a remainder of up to five letters may go over, as in pflag."""
    room = columns - indent
    result = ""
    if room < 24:
        indent = 16
        room = columns - indent
        result = "\n" + " " * indent
    if room < 24:
        return text.replace("\n", result)
    pad = "\n" + " " * indent
    line, rest = _wrap_once(room - 5, 5, text)
    result += line.replace("\n", pad)
    while rest:
        line, rest = _wrap_once(room - 5, 5, rest)
        result += pad + line.replace("\n", pad)
    return result


def flag_lines(flags: "tuple[Flag, ...]", later: "frozenset[str]", columns: int) -> str:
    """One paragraph for each flag. A flag that comes later says so at the end of its only line, which is not wrapped."""
    heads = []
    for long, short, kind, text in flags:
        head = f"  -{short}, --{long}" if short else f"      --{long}"
        if kind != "bool":
            head += f" {kind}"
        heads.append((head, long, text))
    column = max(len(head) for head, _, _ in heads) + 3
    lines = []
    for head, long, text in heads:
        shown = " ".join(text.split()) + f" {NOT_YET}" if long in later else wrap(column, columns, text)
        lines.append(head.ljust(column) + shown)
    return "\n".join(lines)


def command_page(
    path: str,
    usage: str,
    description: str,
    aliases: tuple[str, ...],
    flags: "tuple[Flag, ...]",
    later: "frozenset[str]",
    columns: int,
) -> str:
    """The help of one command. `path` is how it was called ("container ls")."""
    parts = [f"Usage:  pier {path}" + (f" {usage}" if usage else ""), "", description, ""]
    if aliases:
        parts += ["Aliases:", "  " + ", ".join(f"pier {alias}" for alias in aliases), ""]
    if flags:
        # --help is listed only where -h means something else
        if any(flag[1] == "h" for flag in flags):
            flags = tuple(sorted([*flags, ("help", "", "bool", "Print usage")]))
        parts += ["Options:", flag_lines(flags, later, columns - 1), ""]
    return "\n".join(parts)


def command_list(entries: "list[tuple[str, str]]") -> str:
    """The lines of a list of commands: name and short description."""
    pad = max(11, *(len(name) for name, _ in entries)) + 1
    return "\n".join(f"  {name.ljust(pad)}{short}" for name, short in entries)


def group_page(name: str, short: str, entries: "list[tuple[str, str]]") -> str:
    """The help of a group such as `container`."""
    return (
        f"Usage:  pier {name} COMMAND\n\n{short}\n\nCommands:\n{command_list(entries)}\n\n"
        f"Run 'pier {name} COMMAND --help' for more information on a command.\n"
    )


def top_page(sections: "list[tuple[str, list[tuple[str, str]]]]", config_dir: str, columns: int) -> str:
    """The help of `pier` itself."""
    text = "Usage:  pier [OPTIONS] COMMAND\n\nA self-sufficient runtime for containers\n\n"
    for title, entries in sections:
        text += f"{title}:\n{command_list(entries)}\n\n"
    flags = tuple((long, short, kind, words.replace("{config}", config_dir)) for long, short, kind, words in GLOBAL_FLAGS)
    text += f"Global Options:\n{flag_lines(flags, GLOBAL_LATER, columns - 1)}\n\n"
    return text + "Run 'pier COMMAND --help' for more information on a command.\n"
