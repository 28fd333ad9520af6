"""From the tokens of a template to its nodes: nested lists that `evaluate` walks."""

from pier.cli.goformat.functions import FUNCTIONS
from pier.cli.goformat.lex import ParseError, pieces, tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Action", "Block", "Command", "Operand", "ParseError", "Pipe", "Template", "parse"]


class Operand:
    """One operand: kind (constant, field, variable, function, dot, nil, pipe), value, fields behind it, where, its source."""

    __slots__ = ("chain", "kind", "position", "source", "value")

    def __init__(self, kind: str, value: "Any", position: int, source: str, chain: "tuple[str, ...]" = ()) -> None:
        self.kind, self.value, self.position, self.source, self.chain = kind, value, position, source, chain


class Command:
    """Operands: a function with its arguments, or one value."""

    __slots__ = ("operands", "position", "source")

    def __init__(self, operands: "list[Operand]") -> None:
        self.operands = operands
        self.position = operands[0].position
        self.source = " ".join(operand.source for operand in operands)


class Pipe:
    """Commands joined by `|`, and the variables that take the result."""

    __slots__ = ("assign", "commands", "variables")

    def __init__(self, commands: "list[Command]", variables: "list[str]", assign: bool) -> None:
        self.commands, self.variables, self.assign = commands, variables, assign


class Action:
    """A pipeline whose value is written, unless it is kept in a variable."""

    __slots__ = ("pipe",)

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe


class Block:
    """if, with, range, template, break, continue: `pipe` and two lists of nodes."""

    __slots__ = ("body", "kind", "name", "otherwise", "pipe", "position")

    def __init__(self, kind: str, pipe: "Pipe | None", position: int, name: str = "") -> None:
        self.kind, self.pipe, self.position, self.name = kind, pipe, position, name
        self.body: list[Any] = []
        self.otherwise: list[Any] = []


class Template:
    """The nodes, the templates defined inside, and the source (for the positions in errors)."""

    __slots__ = ("defined", "nodes", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.nodes: list[Any] = []
        self.defined: dict[str, list[Any]] = {}


def parse(source: str) -> Template:
    """Parse a template. Raises ParseError with Go's text, without its leading `template: :`."""
    return _Parser(source).run()


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.template = Template(source)
        self.tokens: list[tuple[str, str, int]] = []
        self.at = 0
        self.line = 1
        self.variables = [["$"]]

    def fail(self, text: str) -> ParseError:
        return ParseError(f"{self.line}: {text}")

    def run(self) -> Template:
        # (node list that is filled, block it belongs to, whether its else came)
        stack: list[tuple[list[Any], Block | None, bool]] = [(self.template.nodes, None, False)]
        for kind, content, offset in pieces(self.source):
            self.line = self.source.count("\n", 0, offset) + 1
            if kind == "text":
                stack[-1][0].append(content)
                continue
            self.tokens = tokens(content, offset, self.line)
            self.at = 0
            self.skip()
            word = self.tokens[self.at][1] if self.at < len(self.tokens) and self.peek() == "word" else ""
            self._statement(word, stack, offset)
        if len(stack) > 1:
            self.line = self.source.count("\n") + 1
            raise self.fail("unexpected EOF")
        return self.template

    def _statement(self, word: str, stack: "list[tuple[list[Any], Block | None, bool]]", offset: int) -> None:
        nodes = stack[-1][0]
        if word in ("if", "with", "range"):
            self.at += 1
            self.variables.append([])
            block = Block(word, self.pipeline(word), offset)
            nodes.append(block)
            stack.append((block.body, block, False))
        elif word == "end":
            if len(stack) == 1:
                raise self.fail("unexpected {{end}}")
            self.variables.pop()
            stack.pop()
            while stack[-1][1] is not None and stack[-1][1].kind == "else-if":
                self.variables.pop()
                stack.pop()
        elif word == "else":
            self._else(stack)
        elif word in ("define", "block"):
            self.at += 1
            name = self._name(word)
            self.variables.append([])
            block = Block(word, self.pipeline(word) if word == "block" else None, offset, name)
            self.template.defined[name] = block.body
            if word == "block":
                nodes.append(block)
            stack.append((block.body, block, False))
        elif word == "template":
            self.at += 1
            name = self._name(word)
            self.skip()
            pipe = self.pipeline(word) if self.at < len(self.tokens) else None
            nodes.append(Block("template", pipe, self.tokens[-1][2], name))
        elif word in ("break", "continue"):
            if not any(block is not None and block.kind == "range" for _, block, _ in stack):
                raise self.fail("{{" + word + "}} outside {{range}}")
            nodes.append(Block(word, None, offset))
        else:
            nodes.append(Action(self.pipeline("command")))

    def _else(self, stack: "list[tuple[list[Any], Block | None, bool]]") -> None:
        _, block, had_else = stack[-1]
        if block is None or had_else or block.kind in ("define", "block"):
            raise self.fail("unexpected {{else}}")
        self.at += 1
        self.skip()
        stack[-1] = (block.otherwise, block, True)
        if self.at < len(self.tokens):
            word = self.tokens[self.at][1]
            if word not in ("if", "with"):
                raise self.fail(f"unexpected <{word}> in else")
            self.at += 1
            self.variables.append([])
            inner = Block(word, self.pipeline(word), self.tokens[0][2])
            block.otherwise.append(inner)
            # one {{end}} closes both: the outer one is marked
            stack[-1] = (block.otherwise, Block("else-if", None, 0), True)
            stack.append((inner.body, inner, False))

    def _name(self, word: str) -> str:
        self.skip()
        if self.at >= len(self.tokens) or self.peek() not in ("string", "raw"):
            raise self.fail(f"unexpected end in {word} clause")
        text = self.tokens[self.at][1]
        self.at += 1
        return str(unquote(text))

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def skip(self) -> None:
        while self.peek() == "space":
            self.at += 1

    def pipeline(self, context: str, closing: str = "") -> Pipe:
        variables, assign = self._declaration(context)
        commands: list[Command] = []
        while True:
            self.skip()
            kind = self.peek()
            if kind == closing or kind == "":
                if kind != closing:
                    raise self.fail("unclosed left paren")
                if not commands:
                    raise self.fail(f"missing value for {context}")
                break
            if commands:
                if kind != "|":
                    raise self.fail(f"unexpected {_shown(self.tokens[self.at])} in operand")
                self.at += 1
                self.skip()
                if self.peek() == "":
                    break  # a bar at the end is no error to Go
            commands.append(self.command(closing))
        for variable in variables:
            if not assign:
                self.variables[-1].append(variable)
        return Pipe(commands, variables, assign)

    def _declaration(self, context: str) -> tuple[list[str], bool]:
        start = self.at
        names: list[str] = []
        self.skip()
        while self.peek() == "variable":
            names.append(self.tokens[self.at][1])
            self.at += 1
            self.skip()
            kind = self.peek()
            if kind in (":=", "="):
                self.at += 1
                if kind == "=" and not self._known(names[0]):
                    raise self.fail(f'undefined variable "{names[0]}"')
                return names, kind == "="
            if kind != "," or context != "range" or len(names) > 1:
                break
            self.at += 1
            self.skip()
        self.at = start
        return [], False

    def _known(self, name: str) -> bool:
        return any(name in scope for scope in self.variables)

    def command(self, closing: str) -> Command:
        operands: list[Operand] = []
        self.skip()
        while self.peek() not in ("", "|", closing or ""):
            operands.append(self.operand())
            if self.peek() not in ("space", "", "|", ")"):
                raise self.fail(f"unexpected {_shown(self.tokens[self.at])} in operand")
            if self.peek() == ")" and closing != ")":
                raise self.fail("unexpected right paren")
            self.skip()
        if not operands:
            raise self.fail("missing value for command")
        return Command(operands)

    def operand(self) -> Operand:
        kind, text, position = self.tokens[self.at]
        self.at += 1
        operand = self._term(kind, text, position)
        chain: list[str] = []
        while self.peek() == "field":
            field = self.tokens[self.at]
            if operand.kind in ("constant", "nil"):
                raise self.fail(f"unexpected . after term {text!r}")
            chain.append(field[1][1:])
            operand.source += field[1]
            if operand.kind == "field":
                operand.position = field[2]  # Go names the last field of a chain
            self.at += 1
        if chain:
            if operand.kind == "field":
                operand.value = (*operand.value, *chain)
            else:
                operand.chain = tuple(chain)
                if operand.kind == "variable":
                    operand.position = self.tokens[self.at - 1][2]
        return operand

    def _term(self, kind: str, text: str, position: int) -> Operand:
        if kind == "dot":
            return Operand("dot", None, position, text)
        if kind == "field":
            return Operand("field", (text[1:],), position, text)
        if kind == "variable":
            if not self._known(text):
                raise self.fail(f'undefined variable "{text}"')
            return Operand("variable", text, position, text)
        if kind in ("string", "raw", "char"):
            try:
                return Operand("constant", unquote(text), position, text)
            except ValueError as error:
                raise self.fail(str(error)) from None
        if kind == "number":
            return Operand("constant", self._number(text), position, text)
        if kind == "(":
            pipe = self.pipeline("parenthesized pipeline", ")")
            self.at += 1
            return Operand("pipe", pipe, position, "(" + " | ".join(command.source for command in pipe.commands) + ")")
        if kind == "word":
            if text in ("true", "false"):
                return Operand("constant", text == "true", position, text)
            if text == "nil":
                return Operand("nil", None, position, text)
            if text not in FUNCTIONS:
                raise self.fail(f'function "{text}" not defined')
            return Operand("function", text, position, text)
        if kind == "|":
            raise self.fail("missing value for command")
        raise self.fail(f"unexpected {_shown((kind, text, position))} in command")

    def _number(self, text: str) -> "int | float":
        plain = text.replace("_", "")
        try:
            return int(plain, 0) if not (plain.lstrip("+-").startswith("0") and plain.lstrip("+-0").isdigit()) else int(plain, 8)
        except ValueError:
            pass
        try:
            return float(plain)
        except ValueError:
            raise self.fail(f"bad number syntax: {unquoted(text)}") from None


def unquoted(text: str) -> str:
    """A text in Go's quotes."""
    from pier.cli.flags import go_quote

    return go_quote(text)


def _shown(token: tuple[str, str, int]) -> str:
    return f"<{token[1]}>" if token[0] in ("field", "word", "variable") else unquoted(token[1])


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def unquote(text: str) -> "str | int":
    """The value of a Go string or character constant. Raises ValueError."""
    if text[0] == "`":
        return text[1:-1]
    inner = text[1:-1]
    out = []
    position = 0
    while position < len(inner):
        char = inner[position]
        position += 1
        if char != "\\":
            out.append(char)
            continue
        code = inner[position]
        position += 1
        length = {"x": 2, "u": 4, "U": 8}.get(code, 0)
        if code in _ESCAPES:
            out.append(_ESCAPES[code])
        elif length:
            try:
                out.append(chr(int(inner[position : position + length], 16)))
            except ValueError:
                raise ValueError("invalid syntax") from None
            position += length
        elif code in "01234567":
            out.append(chr(int(inner[position - 1 : position + 2], 8)))
            position += 2
        else:
            raise ValueError("invalid syntax")
    result = "".join(out)
    if text[0] == "'":
        if len(result) != 1:
            raise ValueError(f"malformed character constant: {text}")
        return ord(result)
    return result
