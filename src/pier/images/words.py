"""Words of Dockerfile instructions: logical lines, quoting, variables, JSON forms. Pure.

Source: the Dockerfile reference, "Escape", "Environment replacement" and "Shell and exec form".
"""

import json
import re
from collections.abc import Mapping

from pier.errors import Invalid, NotImplementedByPier

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#]")


def logical_lines(text: str) -> list[str]:
    """The instructions of a text: comments and empty lines are left out, a backslash at the end of a line joins it with the next."""
    lines: list[str] = []
    pending = ""
    for raw in text.splitlines():
        line = raw.rstrip() if pending else raw.strip()
        if line.lstrip().startswith("#") or (not line.strip() and pending):
            continue
        if line.endswith("\\"):
            pending += line[:-1]
        elif pending or line:
            lines.append(pending + line)
            pending = ""
    return [*lines, pending] if pending.strip() else lines


def json_words(text: str) -> list[str] | None:
    """The words of an exec form; None where the text is no JSON array, and so a shell form. Raises Invalid for an array of other things."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list):
        return None
    if not all(isinstance(item, str) for item in value):
        raise Invalid("when using JSON array syntax, arrays must be comprised of strings only")
    return value


def split_words(text: str) -> list[str]:
    """Cut at white space that is not quoted or escaped; quotes and escapes stay in the words."""
    words: list[str] = []
    word, quote, escaped = "", "", False
    for char in text:
        if escaped:
            word, escaped = word + char, False
        elif char == "\\" and quote != "'":
            word, escaped = word + char, True
        elif quote:
            word += char
            quote = "" if char == quote else quote
        elif char in "'\"":
            word, quote = word + char, char
        elif char.isspace():
            words += [word] if word else []
            word = ""
        else:
            word += char
    return [*words, word] if word else words


def name_values(text: str, instruction: str) -> list[tuple[str, str]]:
    """`a=b c="d e"`, or the old form `a the rest`; values keep their quotes. Raises Invalid."""
    words = split_words(text)
    if not words:
        raise Invalid(f"{instruction} requires at least one argument")
    if "=" not in words[0]:
        name, _, rest = text.strip().replace("\t", " ").partition(" ")
        if not rest.strip():
            raise Invalid(f"{instruction} must have two arguments")
        return [(name, rest.strip())]
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise Invalid(f"Syntax error - can't find = in {_quoted(word)}. Must be of the form: name=value")
        pairs.append((name, value))
    return pairs


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


class _Expansion:
    """One word being processed: quotes are removed, variables replaced by their values."""

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self._text, self._at, self._variables = text, 0, variables

    def until(self, stop: str) -> str:
        out: list[str] = []
        while self._at < len(self._text):
            char = self._text[self._at]
            if stop and char == stop:
                break
            self._at += 1
            if char == "'":
                out.append(self._quoted_until("'"))
            elif char == '"':
                out.append(self._double_quoted())
            elif char == "$":
                out.append(self._variable())
            elif char == "\\":
                out.append(self._text[self._at : self._at + 1])
                self._at += 1
            else:
                out.append(char)
        return "".join(out)

    def _quoted_until(self, quote: str) -> str:
        end = self._text.find(quote, self._at)
        if end < 0:
            raise Invalid(f"failed to process {_quoted(self._text)}: unexpected end of statement while looking for matching single-quote")
        found, self._at = self._text[self._at : end], end + 1
        return found

    def _double_quoted(self) -> str:
        out: list[str] = []
        while self._at < len(self._text):
            char = self._text[self._at]
            self._at += 1
            if char == '"':
                return "".join(out)
            if char == "$":
                out.append(self._variable())
            elif char == "\\" and self._text[self._at : self._at + 1] in ("$", '"', "\\"):
                out.append(self._text[self._at])
                self._at += 1
            else:
                out.append(char)
        raise Invalid(f"failed to process {_quoted(self._text)}: unexpected end of statement while looking for matching double-quote")

    def _variable(self) -> str:
        if self._text[self._at : self._at + 1] != "{":
            found = _NAME.match(self._text, self._at)
            if not found:
                return "$"
            self._at = found.end()
            return self._variables.get(found[0], "")
        self._at += 1
        found = _NAME.match(self._text, self._at)
        if not found:
            raise Invalid(f"failed to process {_quoted(self._text)}: syntax error: bad substitution")
        self._at = found.end()
        value = self._variables.get(found[0])
        operator = self._text[self._at : self._at + 1]
        colon = operator == ":"
        if colon:
            self._at += 1
            operator = self._text[self._at : self._at + 1]
        if operator == "}" and not colon:
            self._at += 1
            return value or ""
        if operator in ("#", "%", "/") and not colon:
            raise NotImplementedByPier(f"the substitution ${{{found[0]}{operator}...}}")
        if operator not in ("-", "+", "?"):
            raise Invalid(f"failed to process {_quoted(self._text)}: unsupported modifier ({operator}) in substitution")
        self._at += 1
        word = self.until("}")
        if self._text[self._at : self._at + 1] != "}":
            raise Invalid(f"failed to process {_quoted(self._text)}: syntax error: missing '}}'")
        self._at += 1
        there = bool(value) if colon else value is not None
        if operator == "?" and not there:
            raise Invalid(f"failed to process {_quoted(self._text)}: {found[0]}: {word or 'not set'}")
        if operator == "+":
            return word if there else ""
        return str(value) if there else word


def expand(text: str, variables: Mapping[str, str]) -> str:
    """A word without its quotes and with its variables replaced; one that is not set is empty. Raises Invalid."""
    return _Expansion(text, variables).until("")
