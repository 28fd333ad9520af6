"""`--change`: Dockerfile instructions that alter the configuration of an image that is imported (or committed). Pure.

Source: the Dockerfile reference, one section an instruction; which are allowed and the error texts are Docker's.
"""

import posixpath
import re
import signal
from collections.abc import Callable, Sequence

from pier.errors import Invalid
from pier.images import words
from pier.oci.image_config import ContainerDefaults, Healthcheck

_UNIT_NS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_PORT = re.compile(r"(?:.*:)?(\d+)(?:-(\d+))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_MIN_HEALTH_NS = 10**6
_DEFAULT_SHELL = ["/bin/sh", "-c"]


def apply(config: ContainerDefaults, changes: Sequence[str]) -> None:
    """Carry out the instructions on `config`, in order. Raises Invalid with Docker's text; `config` is then not to be used."""
    state = _State(config)
    parsed = []
    for line in words.logical_lines("\n".join(changes)):
        instruction, _, rest = line.replace("\t", " ").partition(" ")
        act = _INSTRUCTIONS.get(instruction.lower())
        if act is None:
            raise Invalid(f"{instruction.upper()} is not a valid change command")
        parsed.append((act, line.strip()[len(instruction) :].strip()))
    for act, rest in parsed:
        act(state, rest)


class _State:
    """The configuration, and what one instruction must know of those before it."""

    def __init__(self, config: ContainerDefaults) -> None:
        self.config = config
        self.command_given = False

    @property
    def shell(self) -> list[str]:
        return self.config.shell or _DEFAULT_SHELL

    def expand(self, text: str) -> str:
        return words.expand(text, dict(pair.split("=", 1) for pair in self.config.env or () if "=" in pair))

    def command(self, text: str) -> list[str]:
        """An exec form as it is, a shell form behind the shell."""
        exact = words.json_words(text)
        return exact if exact is not None else [*self.shell, text]


def _cmd(state: _State, rest: str) -> None:
    state.config.cmd = state.command(rest) if rest else []
    state.command_given = True


def _entrypoint(state: _State, rest: str) -> None:
    exact = words.json_words(rest)
    state.config.entrypoint = None if exact == [] or not rest else state.command(rest)
    if not state.command_given:
        # A command of the image that was made for another entrypoint makes no sense with this one.
        state.config.cmd = None


def _env(state: _State, rest: str) -> None:
    # All of one instruction see the variables as they were before it.
    pairs = [(state.expand(name), state.expand(value)) for name, value in words.name_values(rest, "ENV")]
    env = list(state.config.env or ())
    for name, value in pairs:
        if not name:
            raise Invalid("ENV names can not be blank")
        at = next((index for index, old in enumerate(env) if old.partition("=")[0] == name), None)
        if at is None:
            env.append(f"{name}={value}")
        else:
            env[at] = f"{name}={value}"
    state.config.env = env


def _label(state: _State, rest: str) -> None:
    labels = dict(state.config.labels or {})
    for name, value in words.name_values(rest, "LABEL"):
        if not name:
            raise Invalid("LABEL names can not be blank")
        labels[state.expand(name)] = state.expand(value)
    state.config.labels = labels


def _expose(state: _State, rest: str) -> None:
    given = words.split_words(rest)
    if not given:
        raise Invalid("EXPOSE requires at least one argument")
    ports = dict(state.config.exposed_ports or {})
    for word in given:
        for port in _ports(state.expand(word)):
            ports[port] = {}
    state.config.exposed_ports = ports


def _ports(text: str) -> list[str]:
    found = _PORT.fullmatch(text)
    if not found:
        raise Invalid(f"invalid containerPort: {text.partition('/')[0]}" if "/" not in text or text.partition("/")[2] else f"invalid port: {text}")
    first, last = int(found[1]), int(found[2] or found[1])
    if not (1 <= first <= 65535 and 1 <= last <= 65535):
        raise Invalid(f"invalid containerPort: {text.partition('/')[0]}")
    if last < first:
        raise Invalid(f"invalid range specified for port: {text}")
    protocol = (found[3] or "tcp").lower()
    return [f"{number}/{protocol}" for number in range(first, last + 1)]


def _user(state: _State, rest: str) -> None:
    state.config.user = state.expand(_exactly_one("USER", rest))


def _workdir(state: _State, rest: str) -> None:
    path = state.expand(_exactly_one("WORKDIR", rest))
    if not path:
        raise Invalid("cannot normalize nothing")
    # Docker keeps the slashes of an absolute path together and drops the last one.
    state.config.working_dir = posixpath.normpath(posixpath.join(state.config.working_dir or "/", path)).replace("//", "/")


def _volume(state: _State, rest: str) -> None:
    exact = words.json_words(rest)
    given = exact if exact is not None else words.split_words(rest)
    if not given:
        raise Invalid("VOLUME requires at least one argument")
    volumes = dict(state.config.volumes or {})
    for word in given:
        path = state.expand(word).strip()
        if not path:
            raise Invalid("VOLUME specified can not be an empty string")
        volumes[path] = {}
    state.config.volumes = volumes


def _stop_signal(state: _State, rest: str) -> None:
    text = state.expand(_exactly_one("STOPSIGNAL", rest))
    known = {name.name.removeprefix("SIG") for name in signal.Signals} | {"RTMIN", "RTMAX"}
    named = re.sub(r"^(RTMIN\+\d+|RTMAX-\d+)$", "RTMIN", text.upper().removeprefix("SIG"))
    if text.isdigit():
        if not 1 <= int(text) <= 64:
            raise Invalid(f"invalid signal: {text}")
    elif named not in known:
        raise Invalid(f"invalid signal: {text}")
    state.config.stop_signal = text


def _shell(state: _State, rest: str) -> None:
    exact = words.json_words(rest)
    if exact is None:
        raise Invalid("SHELL requires the arguments to be in JSON form")
    if not exact:
        raise Invalid("SHELL requires at least one argument")
    state.config.shell = exact


def _on_build(state: _State, rest: str) -> None:
    trigger = rest.split(None, 1)[0].upper() if rest else ""
    if not trigger:
        raise Invalid("ONBUILD requires at least one argument")
    if trigger == "ONBUILD":
        raise Invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("MAINTAINER", "FROM"):
        raise Invalid(f"{trigger} isn't allowed as an ONBUILD trigger")
    state.config.on_build = [*(state.config.on_build or ()), rest]


def _healthcheck(state: _State, rest: str) -> None:
    check, given = Healthcheck(), set()
    while found := re.match(r"--([a-z-]+)(?:=(\S*))?\s*", rest):
        name, value = found[1], found[2] or ""
        rest = rest[found.end() :]
        given.add(name)
        match name:
            case "interval":
                check.interval = _duration(value, name)
            case "timeout":
                check.timeout = _duration(value, name)
            case "start-period":
                check.start_period = _duration(value, name)
            case "start-interval":
                check.start_interval = _duration(value, name)
            case "retries":
                if not re.fullmatch(r"\d+", value) or int(value) < 0:
                    raise Invalid(f"--retries must be at least 0 (not {value})")
                check.retries = int(value)
            case _:
                raise Invalid(f"unknown flag: --{name}")
    kind, _, command = rest.strip().partition(" ")
    if kind.upper() == "NONE":
        if command.strip():
            raise Invalid("HEALTHCHECK NONE takes no arguments")
        check.test = ["NONE"]
    elif kind.upper() == "CMD":
        exact = words.json_words(command.strip())
        if not command.strip() or exact == []:
            raise Invalid("missing command after HEALTHCHECK CMD")
        check.test = ["CMD", *exact] if exact is not None else ["CMD-SHELL", command.strip()]
    elif not kind:
        raise Invalid("HEALTHCHECK requires at least one argument")
    else:
        raise Invalid(f'unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)')
    state.config.healthcheck = check


def _duration(text: str, flag: str) -> int:
    """ns of a Go duration. Raises Invalid."""
    parts = list(_DURATION.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise Invalid(f'time: invalid duration "{text}"')
    total = int(sum(float(part[1]) * _UNIT_NS[part[2]] for part in parts))
    if 0 < total < _MIN_HEALTH_NS:
        raise Invalid(f'Interval "{flag}" cannot be less than 1ms')
    return total


def _exactly_one(instruction: str, rest: str) -> str:
    if not rest:
        raise Invalid(f"{instruction} requires exactly one argument")
    return rest


_INSTRUCTIONS: dict[str, Callable[[_State, str], None]] = {
    "cmd": _cmd, "entrypoint": _entrypoint, "env": _env, "expose": _expose, "healthcheck": _healthcheck, "label": _label, "onbuild": _on_build,
    "shell": _shell, "stopsignal": _stop_signal, "user": _user, "volume": _volume, "workdir": _workdir,
}  # fmt: skip
