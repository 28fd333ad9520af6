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
_PORT = re.compile(r"(?:.*:)?(\d{1,9})(?:-(\d{1,9}))?")
_MIN_HEALTH_NS = 10**6
_HEALTH_FLAGS = frozenset({"interval", "timeout", "start-period", "start-interval", "retries"})
_DEFAULT_SHELL = ["/bin/sh", "-c"]


def apply(config: ContainerDefaults, changes: Sequence[str]) -> None:
    """Carry out the instructions on `config`, in order. Raises Invalid with Docker's text; `config` is then not to be used."""
    state = _State(config)
    parsed = []
    lines = words.logical_lines("\n".join(changes))
    if changes and not lines:
        raise Invalid("file with no instructions")
    for line in lines:
        instruction, _, rest = line.replace("\t", " ").partition(" ")
        act = _INSTRUCTIONS.get(instruction.lower())
        if act is None:
            raise Invalid(f"{instruction} is not a valid change command")
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
    exact = words.json_words(rest)
    state.config.cmd = None if exact == [] else state.command(rest) if rest else list(state.shell)
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
    """`[[ip:]host:]port[-port][/protocol]`: only the container's side counts here."""
    numbers, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    found = _PORT.fullmatch(numbers)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (-1, -1)
    if not 0 <= first <= last <= 65535:
        raise Invalid(f"Invalid containerPort: {numbers}")
    if protocol not in ("tcp", "udp", "sctp"):
        raise Invalid(f"Invalid proto: {protocol}")
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
    known = {name.name.removeprefix("SIG") for name in signal.Signals}
    named = text.upper().removeprefix("SIG")
    real_time = re.fullmatch(r"RTMIN\+([1-9]|1[0-5])|RTMAX-([1-9]|1[0-4])", named)
    # A number is taken as it is, whatever kill(2) says of it later; but 0 is no signal.
    if not (re.fullmatch(r"[0-9]+", text) and int(text)) and named not in known and not real_time:
        raise Invalid(f"invalid signal: {text}")
    state.config.stop_signal = text


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
    check = Healthcheck()
    while found := re.match(r"--([a-z-]+)(?:=(\S*))?\s*", rest):
        name, value = found[1], found[2]
        rest = rest[found.end() :]
        if name not in _HEALTH_FLAGS:
            raise Invalid(f"unknown flag: --{name}")
        if value is None:
            raise Invalid(f"missing a value on flag: --{name}")
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
                if not re.fullmatch(r"-?[0-9]{1,9}", value):
                    raise Invalid(f'strconv.ParseInt: parsing "{value}": invalid syntax')
                if int(value) < 0:
                    raise Invalid(f"--retries cannot be negative ({value})")
                check.retries = int(value)
    kind, _, command = rest.strip().partition(" ")
    if kind.upper() == "NONE":
        if command.strip():
            raise Invalid("HEALTHCHECK NONE takes no arguments")
        check.test = ["NONE"]
    elif kind.upper() == "CMD":
        exact = words.json_words(command.strip())
        if not command.strip() or exact == []:
            raise Invalid("Missing command after HEALTHCHECK CMD")
        check.test = ["CMD", *exact] if exact is not None else ["CMD-SHELL", command.strip()]
    elif not kind:
        raise Invalid("HEALTHCHECK requires at least one argument")
    else:
        raise Invalid(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)')
    state.config.healthcheck = check


def _duration(text: str, flag: str) -> int:
    """ns of a Go duration. Raises Invalid."""
    parts = list(_DURATION.finditer(text))
    if text != "0" and (not parts or "".join(part[0] for part in parts) != re.sub(r"^[+-]", "", text)):
        raise Invalid(f'time: invalid duration "{text}"')
    total = int(sum(float(part[1]) * _UNIT_NS[part[2]] for part in parts)) * (-1 if text.startswith("-") else 1)
    if total and total < _MIN_HEALTH_NS:
        raise Invalid(f'Interval "{flag}" cannot be less than 1ms')
    return total


def _exactly_one(instruction: str, rest: str) -> str:
    if not rest:
        raise Invalid(f"{instruction} requires exactly one argument")
    return rest


_INSTRUCTIONS: dict[str, Callable[[_State, str], None]] = {
    "cmd": _cmd, "entrypoint": _entrypoint, "env": _env, "expose": _expose, "healthcheck": _healthcheck, "label": _label, "onbuild": _on_build,
    "stopsignal": _stop_signal, "user": _user, "volume": _volume, "workdir": _workdir,
}  # fmt: skip
