"""Splits a template into text and actions, and an action into tokens."""

LEFT, RIGHT = "{{", "}}"
_BLANKS = " \t\r\n"


class ParseError(Exception):
    """The template is no template; the text begins with the line."""


def pieces(template: str) -> list[tuple[str, str, int]]:
    """("text" | "action", content, offset) in order; comments are gone, `{{-` and `-}}` have trimmed their neighbours."""
    found: list[tuple[str, str, int]] = []
    position = 0
    trim = False
    while True:
        start = template.find(LEFT, position)
        text = template[position:] if start < 0 else template[position:start]
        if trim:
            text = text.lstrip(_BLANKS)
        if start < 0:
            if text:
                found.append(("text", text, position))
            return found
        inner = start + 2
        if template[inner : inner + 1] == "-" and template[inner + 1 : inner + 2] in tuple(_BLANKS):
            text = text.rstrip(_BLANKS)
            inner += 1
        if text:
            found.append(("text", text, position))
        line = template.count("\n", 0, start) + 1
        end = _action_end(template, inner, line)
        content = template[inner:end]
        position = end + 2
        trim = content.endswith("-") and content[-2:-1] in tuple(_BLANKS)
        if trim:
            content = content[:-1]
        bare = content.strip(_BLANKS)
        if bare.startswith("/*"):
            if not bare.endswith("*/"):
                raise ParseError(f"{line}: unclosed comment")
            continue
        found.append(("action", content, inner))


def _action_end(template: str, position: int, line: int) -> int:
    while position < len(template):
        char = template[position]
        if char in "\"'":
            position += 1
            while position < len(template) and template[position] != char:
                if template[position] == "\n":
                    break
                position += 2 if template[position] == "\\" else 1
            if position >= len(template) or template[position] != char:
                raise ParseError(f"{line}: unterminated {'quoted string' if char == chr(34) else 'character constant'}")
        elif char == "`":
            position = template.find("`", position + 1)
            if position < 0:
                raise ParseError(f"{line}: unterminated raw quoted string")
        elif template.startswith("/*", position):
            position = template.find("*/", position)
            if position < 0:
                raise ParseError(f"{line}: unclosed comment")
            position += 1
        elif template.startswith(RIGHT, position):
            return position
        position += 1
    raise ParseError(f"{line}: unclosed action")


def tokens(content: str, offset: int, line: int) -> list[tuple[str, str, int]]:
    """(kind, text, offset): word, field, variable, string, char, number, `(`, `)`, `|`, `,`, `:=`, `=`, dot, space."""
    found: list[tuple[str, str, int]] = []
    position = 0
    while position < len(content):
        char = content[position]
        start = position
        if char in _BLANKS:
            while position < len(content) and content[position] in _BLANKS:
                position += 1
            found.append(("space", " ", offset + start))
            continue
        if char in "()|,":
            position += 1
            found.append((char, char, offset + start))
        elif content.startswith(":=", position):
            position += 2
            found.append((":=", ":=", offset + start))
        elif char == "=":
            position += 1
            found.append(("=", "=", offset + start))
        elif char in "\"'":
            position += 1
            while content[position] != char:
                position += 2 if content[position] == "\\" else 1
            position += 1
            found.append(("string" if char == '"' else "char", content[start:position], offset + start))
        elif char == "`":
            position = content.index("`", position + 1) + 1
            found.append(("raw", content[start:position], offset + start))
        elif char == "." and not content[position + 1 : position + 2].isdigit():
            position = _word_end(content, position + 1)
            found.append(("dot" if position == start + 1 else "field", content[start:position], offset + start))
        elif char == "$":
            position = _word_end(content, position + 1)
            found.append(("variable", content[start:position], offset + start))
        elif char.isdigit() or char in "+-.":
            position += 1
            while position < len(content):
                sign = content[position - 1] in "eE" and content[position] in "+-"
                if not (sign or content[position].isalnum() or content[position] in "._"):
                    break
                position += 1
            found.append(("number", content[start:position], offset + start))
        elif char.isalpha() or char == "_":
            position = _word_end(content, position)
            found.append(("word", content[start:position], offset + start))
        else:
            shown = f"U+{ord(char):04X} {char!r}"
            raise ParseError(f"{line}: unexpected bad character {shown} in command" if char not in "-" else f"{line}: bad character {shown}")
    return found


def _word_end(content: str, position: int) -> int:
    while position < len(content) and (content[position].isalnum() or content[position] == "_"):
        position += 1
    return position
