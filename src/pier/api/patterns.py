"""Patterns that clients send in filters: regular expressions as Go's regexp understands them, in linear time whatever the pattern.

Python's `re` goes back on its tracks: `(a+)+b` on a long name would hold up the daemon for years. Here all ways through a pattern are
followed at once (Thompson's construction), steps that were taken once are remembered (a DFA that is made as it is needed), and the work
for one pattern has a limit. Syntax: https://github.com/google/re2/wiki/Syntax, but for \\p (classes of Unicode), which is refused by name.
Whether a text fits is all that is told, so greedy and lazy, capturing and plain groups are the same.
"""

from collections.abc import Callable, Iterable

from pier.api import pattern_syntax as syntax
from pier.api.pattern_syntax import Node
from pier.errors import Invalid

_MAX_INSTRUCTIONS = 10_000
_MAX_WORK = 500_000  # instructions looked at while new steps are found: some hundred milliseconds
_BEGIN, _WORD, _OTHER, _END = "begin", "word", "other", "end"
# An instruction: what a character must pass (or None), an assertion (or ""), and where it goes on: to several where it is neither.
_Instruction = tuple[Callable[[str], bool] | None, str, tuple[int, ...]]


def any_of(values: Iterable[str]) -> Callable[[str], bool]:
    """A filter's test as Docker's engine has it: whether a text is one of the values, or one of the values is a pattern in it.

    A value that is no pattern fits only itself. Raises Invalid for one that this matcher does not know or that is too much work; the
    test itself raises Invalid, too, should it become too much.
    """
    exact = set(values)
    trees = []
    for value in sorted(exact):
        try:
            trees.append(syntax.parse(value))
        except ValueError:
            continue
    # One program for all of them: the limits are those of a request.
    pattern = Pattern(" ".join(sorted(exact)), syntax.Choice(tuple(trees)))
    return lambda text: text in exact or pattern.is_in(text)


class Pattern:
    """A regular expression, compiled."""

    def __init__(self, text: str, tree: Node | None = None) -> None:
        """tree: its syntax, where it was parsed before. Raises ValueError where Go would not take it, Invalid where it is not known here or too
        large."""
        self._text = text[:80]
        self._program: list[_Instruction] = []
        self._emit(tree or syntax.parse(text))
        self._steps: dict[tuple[frozenset[int], str, str], tuple[frozenset[int], bool]] = {}
        self._work = 0

    def is_in(self, text: str) -> bool:
        """Whether some part of a text fits. Raises Invalid where finding out is too much work."""
        waiting: frozenset[int] = frozenset()
        before = _BEGIN
        for char in text:
            waiting, found = self._step(waiting, before, char)
            if found:
                return True
            before = _WORD if syntax.is_word(char) else _OTHER
        return self._step(waiting, before, "")[1]

    def _step(self, waiting: frozenset[int], before: str, char: str) -> tuple[frozenset[int], bool]:
        """From the instructions that wait, past one character (past the end where it is ""): those that wait then, and whether it fits."""
        key = (waiting, before, char)
        known = self._steps.get(key)
        if known is None:
            known = self._steps[key] = self._new_step(waiting, before, char)
        return known

    def _new_step(self, waiting: frozenset[int], before: str, char: str) -> tuple[frozenset[int], bool]:
        after = (_WORD if syntax.is_word(char) else _OTHER) if char else _END
        reached: set[int] = set()
        pending = [*waiting, 0]  # a fit may begin anywhere
        following: set[int] = set()
        while pending:
            at = pending.pop()
            if at in reached:
                continue
            reached.add(at)
            if at == len(self._program):
                return frozenset(), True
            test, assertion, onward = self._program[at]
            if test is None:
                if not assertion or _holds(assertion, before, after):
                    pending += onward
            elif char and test(char):
                following.update(onward)
        self._work += len(reached)
        if self._work > _MAX_WORK:
            raise Invalid(f"the pattern {self._text!r} takes too long: use a simpler one")
        return frozenset(following), False

    def _add(self, test: Callable[[str], bool] | None = None, assertion: str = "", onward: tuple[int, ...] | None = None) -> int:
        at = len(self._program)
        if at >= _MAX_INSTRUCTIONS:
            raise Invalid(f"the pattern {self._text!r} is too large: use a simpler one")
        self._program.append((test, assertion, (at + 1,) if onward is None else onward))
        return at

    def _emit(self, node: Node) -> None:
        """Append the instructions of a node; a text that fits leaves them at their end."""
        match node:
            case syntax.Char(test):
                self._add(test)
            case syntax.Assertion(kind):
                self._add(assertion=kind)
            case syntax.Sequence(nodes):
                for one in nodes:
                    self._emit(one)
            case syntax.Choice(nodes):
                self._emit_choice(nodes)
            case syntax.Repeat(inner, least, most):
                for _ in range(least):
                    self._emit(inner)
                if most is None:
                    fork = self._add()
                    self._emit(inner)
                    end = self._add(onward=(fork,)) + 1
                    self._program[fork] = (None, "", (fork + 1, end))
                else:
                    forks = []
                    for _ in range(most - least):
                        forks.append(self._add())
                        self._emit(inner)
                    for fork in forks:
                        self._program[fork] = (None, "", (fork + 1, len(self._program)))

    def _emit_choice(self, nodes: tuple[Node, ...]) -> None:
        fork = self._add()
        starts, ends = [], []
        for one in nodes:
            starts.append(len(self._program))
            self._emit(one)
            ends.append(self._add())
        self._program[fork] = (None, "", tuple(starts))
        for end in ends:
            self._program[end] = (None, "", (len(self._program),))


def _holds(assertion: str, before: str, after: str) -> bool:
    match assertion:
        case "^":
            return before == _BEGIN
        case "$":
            return after == _END
        case "b":
            return (before == _WORD) != (after == _WORD)
        case _:
            return (before == _WORD) == (after == _WORD)
