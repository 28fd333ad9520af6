"""`pier`: global flags, the command's module, its flags, and the exit status."""

import posix
import sys

from pier.cli import flags as flag_parser
from pier.cli.index import find
from pier.cli.session import Cli, CommandError, UsageError, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Values of 129 and above are 128 + signal; 125 is Docker's "the client or the daemon failed, not the command".
EXIT_USAGE = 125
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


def main() -> None:
    """Run the command line of this process and leave it; the interpreter's own clean-up is skipped, it takes 2 ms."""
    try:
        status = run(sys.argv[1:], environment())
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
    except BrokenPipeError:
        status = EXIT_BROKEN_PIPE
    posix._exit(status)


def environment() -> "dict[str, str]":
    """What os.environ would be, without `os`."""
    encoding = sys.getfilesystemencoding()
    return {name.decode(encoding, "surrogateescape"): value.decode(encoding, "surrogateescape") for name, value in posix.environ.items()}


def run(args: list[str], environ: "Any") -> int:
    """Run one command line; the exit status. Writes to descriptors 1 and 2."""
    try:
        return _run(args, environ)
    except CommandError as error:
        return fail(str(error), error.status)
    except flag_parser.NotYet as error:
        return fail(f"{error} is not supported by Pier yet", EXIT_USAGE)
    except BrokenPipeError:
        raise
    except OSError as error:
        return fail(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error), 1)
    except ValueError as error:
        return fail(str(error), 1)


def fail(message: str, status: int) -> int:
    """Show a message; the status."""
    if message:
        write_all(2, message + "\n")
    return status


def _run(args: list[str], environ: "Any") -> int:
    if args and args[0][:1] != "-":
        cli, rest = Cli(environ), args  # the common case needs no table of global flags
    else:
        from pier.cli.help import GLOBAL_FLAGS, GLOBAL_LATER

        try:
            options, rest = flag_parser.parse(args, GLOBAL_FLAGS, interspersed=False, later=GLOBAL_LATER, parsers={"log-level": _log_level})
        except flag_parser.HelpWanted:
            return _top_help(Cli(environ))
        except flag_parser.FlagError as error:
            return fail(f"{error}\n\nUsage:  pier [OPTIONS] COMMAND [ARG...]\n\nRun 'pier --help' for more information", EXIT_USAGE)
        cli = Cli(environ, options.text("config"), options.text("host"), options.text("context"), options.flag("debug"))
        if options.flag("version") and not rest:
            from pier.cli.session import VERSION

            cli.out(f"Pier version {VERSION}\n")
            return 0
    if not rest:
        return _top_help(cli)
    if rest[0] == "help":
        rest = [*rest[1:], "--help"]
        if rest == ["--help"]:
            return _top_help(cli)
    try:
        path, module_name, taken = find(rest)
    except KeyError as error:
        return _unknown(str(error.args[0]))
    if module_name == "group":
        return _group(cli, path, rest[1:])
    if not module_name:
        return _later(cli, path, rest[taken:])
    module = __import__(f"pier.cli.{module_name}", fromlist=["run"])
    return _command(cli, path, module, rest[taken:])


def _log_level(text: str) -> str:
    if text.lower() not in ("debug", "info", "warn", "warning", "error", "fatal", "panic", "trace"):
        raise ValueError(f'not a valid logrus Level: "{text}"')
    return text


def _command(cli: Cli, path: str, module: "Any", args: list[str]) -> int:
    usage = f"Usage:  pier {path}" + (f" {module.USAGE}" if module.USAGE else "")
    again = f"pier {path} --help' for more information"
    try:
        options, rest = flag_parser.parse(
            args,
            module.FLAGS,
            interspersed=getattr(module, "INTERSPERSED", True),
            defaults=getattr(module, "DEFAULTS", None),
            parsers=getattr(module, "PARSERS", None),
            later=getattr(module, "LATER", frozenset()),
            hidden=getattr(module, "HIDDEN", None),
        )
    except flag_parser.HelpWanted as wanted:
        if wanted.deprecated:
            cli.err("Flag shorthand -h has been deprecated, use --help\n")
        from pier.cli import help as pages

        text = getattr(module, "LONG", "") or module.SHORT
        cli.out(
            pages.command_page(
                path, module.USAGE, text, getattr(module, "ALIASES", ()), module.FLAGS, getattr(module, "LATER", frozenset()), pages.width()
            )
        )
        return 0
    except flag_parser.FlagError as error:
        return fail(f"{error}\n\n{usage}\n\nRun '{again}", EXIT_USAGE)
    except flag_parser.NotYet as error:
        return _not_yet(path, error)
    low, high = module.ARGS
    if len(rest) < low or (high is not None and len(rest) > high):
        return fail(f"pier: 'pier {path}' {_arity(low, high)}\n\n{usage}\n\n{_lead(low, high)} '{again}", 1)
    from pier.client.session import ApiError, ConnectionFailed

    try:
        return int(module.run(cli, options, rest))
    except UsageError as error:
        return fail(f"{error}\n\n{usage}\n\nRun '{again}", 1)
    except (ApiError, ConnectionFailed) as error:
        return fail(str(error), 1)
    except flag_parser.NotYet as error:
        return _not_yet(path, error)


def _not_yet(path: str, error: flag_parser.NotYet) -> int:
    """What a command's flag asks for comes later; `run` and `create` put around it what Docker's do around every refusal."""
    message = f"{error} is not supported by Pier yet"
    if path in ("run", "create", "container run", "container create"):
        message = f"pier: {message}\n\nRun 'pier {path} --help' for more information"
    return fail(message, EXIT_USAGE)


def _lead(low: int, high: "int | None") -> str:
    # Docker's own words, its slip for "at most" included
    return "See" if high is None else "SRun" if low == 0 and high else "Run"


def _arity(low: int, high: "int | None") -> str:
    def arguments(count: int) -> str:
        return f"{count} argument" + ("" if count == 1 else "s")

    if high == 0:
        return "accepts no arguments"
    if high is None:
        return f"requires at least {arguments(low)}"
    if low == high:
        return f"requires {arguments(low)}"
    if low == 0:
        return f"requires at most {arguments(high)}"
    return f"requires at least {low} and at most {arguments(high)}"


def _top_help(cli: Cli) -> int:
    from pier.cli import help as pages
    from pier.cli.index import SECTIONS, marked

    cli.out(pages.top_page([(title, marked(entries)) for title, entries in SECTIONS], cli.config_dir, pages.width()))
    return 0


def _group(cli: Cli, name: str, args: list[str]) -> int:
    from pier.cli import help as pages
    from pier.cli.index import GROUPS, MANAGEMENT, marked

    write = cli.err  # nothing was asked for: a mistake rather than a wish
    try:
        flag_parser.parse(args, ())
    except flag_parser.FlagError as error:
        return fail(f"{error}\n\nUsage:  pier {name} COMMAND\n\nRun 'pier {name} --help' for more information", EXIT_USAGE)
    except flag_parser.HelpWanted:
        write = cli.out
    entries = sorted(GROUPS[name].items())
    write(pages.group_page(name, MANAGEMENT[name][1], marked(dict(entries))))
    return 0


def _unknown(path: str) -> int:
    group = path.partition(" ")[0] if " " in path else ""
    word = " COMMAND" if group == "volume" else ""  # as Docker's own, which has it there only
    usage = f"Usage:  pier {group}{word}\n\n" if group else ""
    again = f"pier {group} --help" if group else "pier --help"
    return fail(f"pier: unknown command: pier {path}\n\n{usage}Run '{again}' for more information", 1)


def _later(cli: Cli, path: str, args: list[str]) -> int:
    if args == ["--help"]:
        from pier.cli import later
        from pier.cli.index import GROUPS, SECTIONS

        group, _, name = path.rpartition(" ")
        entries = GROUPS[group] if group else {key: value for _, table in SECTIONS for key, value in table.items()}
        return later.show(cli, path, entries[name][1])
    return fail(f"pier: 'pier {path}' is not supported by Pier yet", 1)
