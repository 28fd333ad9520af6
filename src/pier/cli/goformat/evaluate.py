"""Executes a parsed template over a value: a document of the API, or a row of a list."""

from pier.cli.formats import Header, Row
from pier.cli.goformat import values
from pier.cli.goformat.functions import FUNCTIONS, HEADER_PASS, CallError
from pier.cli.goformat.parse import Action, Block, Command, Operand, Pipe, Template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEPTH_LIMIT = 100


class ExecuteError(Exception):
    """The template cannot be executed; Go's text without its leading `template: NAME:`."""


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


_NOTHING = object()  # a key that a map does not have: prints as <no value>


def execute(template: Template, data: "Any", name: str = "", root_type: str = "") -> str:
    """The text that a template makes of `data`.

    `name` and `root_type` are what errors call the template and the type of `data`. Raises ExecuteError.
    """
    run = _Run(template, name, root_type, data)
    run.walk(template.nodes, data)
    return "".join(run.out)


class _Run:
    def __init__(self, template: Template, name: str, root_type: str, data: "Any") -> None:
        self.template = template
        self.name = name
        self.root, self.root_type = data, root_type
        self.header = isinstance(data, Header)
        self.out: list[str] = []
        self.variables: list[tuple[str, Any]] = [("$", data)]
        self.depth = 0

    def fail(self, position: int, source: str, text: str) -> ExecuteError:
        before = self.template.source[:position]
        line = before.count("\n") + 1
        column = len(before.encode()) if line == 1 else len(before.rpartition("\n")[2].encode())
        return ExecuteError(f'{line}:{column}: executing "{self.name}" at <{source}>: {text}')

    def walk(self, nodes: "list[Any]", dot: "Any") -> None:
        for node in nodes:
            if isinstance(node, str):
                self.out.append(node)
            elif isinstance(node, Action):
                value = self.pipe(node.pipe, dot)
                if not node.pipe.variables:
                    self.out.append("<no value>" if value is _NOTHING else values.go_text(value))
            else:
                self.block(node, dot)

    def block(self, node: Block, dot: "Any") -> None:
        mark = len(self.variables)
        if node.kind == "break":
            raise _Break
        if node.kind == "continue":
            raise _Continue
        if node.kind == "define":
            return
        if node.kind in ("template", "block"):
            self.call_template(node, dot)
            return
        if node.pipe is None:
            return
        if node.kind == "range":
            self.range(node, node.pipe, dot)
        else:
            value = self.pipe(node.pipe, dot)
            if value is not _NOTHING and values.is_true(value):
                self.walk(node.body, value if node.kind == "with" else dot)
            else:
                self.walk(node.otherwise, dot)
        del self.variables[mark:]

    def call_template(self, node: Block, dot: "Any") -> None:
        body = self.template.defined.get(node.name)
        if body is None:
            raise self.fail(node.position, f'{{{{template "{node.name}"}}}}', f'template "{node.name}" not defined')
        data = self.pipe(node.pipe, dot) if node.pipe is not None else None
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            raise self.fail(node.position, f'{{{{template "{node.name}"}}}}', f"exceeded maximum template depth ({DEPTH_LIMIT})")
        outer, self.variables = self.variables, [("$", data)]
        self.walk(body, data)
        self.variables = outer
        self.depth -= 1

    def range(self, node: Block, pipe: Pipe, dot: "Any") -> None:
        value = self.pipe(Pipe(pipe.commands, [], False), dot)
        if isinstance(value, dict):
            items = [(key, values.field(value, key, "")) for key in sorted(value)]
        elif isinstance(value, (list, tuple)):
            items = list(enumerate(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            items = [(at, at) for at in range(value)]
        elif value is None or value is _NOTHING:
            items = []
        else:
            first = pipe.commands[0]
            raise self.fail(first.position, first.source, f"range can't iterate over {values.go_text(value)}")
        if not items:
            self.walk(node.otherwise, dot)
            return
        for key, item in items:
            mark = len(self.variables)
            names = pipe.variables
            if len(names) == 2:
                self.set(names[0], key, pipe.assign)
                self.set(names[1], item, pipe.assign)
            elif names:
                self.set(names[0], item, pipe.assign)
            try:
                self.walk(node.body, item)
            except _Break:
                break
            except _Continue:
                continue
            finally:
                del self.variables[mark:]

    def set(self, name: str, value: "Any", assign: bool) -> None:
        if assign:
            for at in range(len(self.variables) - 1, -1, -1):
                if self.variables[at][0] == name:
                    self.variables[at] = (name, value)
                    return
        self.variables.append((name, value))

    def pipe(self, pipe: Pipe, dot: "Any") -> "Any":
        final: list[Any] = []
        for command in pipe.commands:
            final = [self.command(command, dot, final)]
        value = final[0]
        for name in pipe.variables:
            self.set(name, value, pipe.assign)
        return value

    def command(self, command: Command, dot: "Any", final: "list[Any]") -> "Any":
        first = command.operands[0]
        if first.kind == "function":
            return self.call(command, dot, final)
        arguments = command.operands[1:]
        if first.kind in ("field", "variable", "pipe") and (arguments or final):
            return self.method(first, arguments, dot, final)
        if arguments or final:
            raise self.fail(first.position, first.source, f"can't give argument to non-function {first.source}")
        if first.kind == "nil":
            raise self.fail(first.position, first.source, "nil is not a command")
        return self.operand(first, dot)

    def method(self, first: Operand, arguments: "list[Operand]", dot: "Any", final: "list[Any]") -> "Any":
        """`.Label "name"`: the last field of a chain, called with arguments."""
        chain = first.value if first.kind == "field" else first.chain
        given = [self.operand(operand, dot) for operand in arguments] + final
        receiver = dot if first.kind == "field" else self.operand(Operand(first.kind, first.value, first.position, first.source), dot)
        for name in chain[:-1]:
            receiver = self.field(receiver, name, "", first)
        name = chain[-1] if chain else ""
        kind = receiver if isinstance(receiver, Row) else receiver.kind if isinstance(receiver, Header) else None
        if kind is None or name not in kind.CALLS:
            if kind is not None and name in kind.FIELDS:
                raise self.fail(first.position, first.source, f"wrong number of args for {name}: want 0 got {len(given)}")
            raise self.fail(first.position, first.source, f"{name} is not a method but has arguments")
        if len(given) != 1:
            raise self.fail(first.position, first.source, f"wrong number of args for {name}: want 1 got {len(given)}")
        if isinstance(receiver, Header):
            return str(given[0]).rpartition(".")[2].replace("-", " ").replace("_", " ")
        return receiver.call(name, str(given[0]))

    def call(self, command: Command, dot: "Any", final: "list[Any]") -> "Any":
        first = command.operands[0]
        name = str(first.value)
        function, least, most = FUNCTIONS[name]
        operands = command.operands[1:]
        count = len(operands) + len(final)
        if count < least or (most >= 0 and count > most):
            want = f"at least {least}" if most != least else str(least)
            raise self.fail(first.position, first.source, f"wrong number of args for {name}: want {want} got {count}")
        if function is None:
            return self.short_circuit(name, operands, dot, final)
        arguments = [self.argument(operand, dot) for operand in operands] + [None if value is _NOTHING else value for value in final]
        if self.header and name in HEADER_PASS:
            return arguments[0]
        try:
            return function(*arguments)
        except CallError as error:
            if error.argument is not None:
                at = operands[error.argument] if error.argument < len(operands) else first
                text = str(error)
                if at.kind == "constant":
                    wanted = text.partition("expected ")[2].partition(";")[0]
                    text = f"can't handle {at.source} for arg of type {wanted}" if wanted.startswith("[") else f"expected {wanted}; found {at.source}"
                raise self.fail(at.position, at.source, text) from None
            raise self.fail(first.position, command.source, f"error calling {name}: {error}") from None

    def short_circuit(self, name: str, operands: "list[Operand]", dot: "Any", final: "list[Any]") -> "Any":
        value: Any = None
        for operand in operands:
            value = self.argument(operand, dot)
            if values.is_true(value) == (name == "or"):
                return value
        return final[0] if final else value

    def argument(self, operand: Operand, dot: "Any") -> "Any":
        value = self.operand(operand, dot)
        return None if value is _NOTHING else value

    def operand(self, operand: Operand, dot: "Any") -> "Any":
        kind = operand.kind
        if kind == "constant":
            return operand.value
        if kind == "nil":
            return None
        if kind == "dot":
            value, chain = dot, operand.chain
        elif kind == "field":
            value, chain = dot, operand.value
        elif kind == "variable":
            value = next(found for name, found in reversed(self.variables) if name == operand.value)
            chain = operand.chain
        elif kind == "pipe":
            value, chain = self.pipe(operand.value, dot), operand.chain
        else:
            value, chain = self.call(Command([operand]), dot, []), operand.chain
        parent = ""
        for name in chain:
            value = self.field(value, name, parent, operand)
            parent = name
        return value

    def field(self, value: "Any", name: str, parent: str, operand: Operand) -> "Any":
        if isinstance(value, dict):
            try:
                return values.field(value, name, parent)
            except KeyError:
                if isinstance(value, values.Map):
                    return _NOTHING
                if value is self.root and self.root_type:
                    text = f"can't evaluate field {name} in type {self.root_type}"
                else:
                    text = f'map has no entry for key "{name}"'
                raise self.fail(operand.position, operand.source, text) from None
        if isinstance(value, Header):
            if name in value.kind.HEADERS:
                return value.kind.HEADERS[name]
            raise self.fail(operand.position, operand.source, f"can't evaluate field {name} in type {value.kind.TYPE}")
        if isinstance(value, Row):
            if name in value.FIELDS:
                return value.get(name)
            if name in value.CALLS:
                raise self.fail(operand.position, operand.source, f"wrong number of args for {name}: want 1 got 0")
            raise self.fail(operand.position, operand.source, f"can't evaluate field {name} in type {value.TYPE}")
        if value is None or value is _NOTHING:
            raise self.fail(operand.position, operand.source, f"nil pointer evaluating interface {{}}.{name}")
        raise self.fail(operand.position, operand.source, f"can't evaluate field {name} in type interface {{}}")
