"""Scopes of tokens: `repository:library/busybox:pull,push` (distribution specification, "Token Scope Documentation"). Pure."""

from collections.abc import Iterable

MAX_SCOPE_CHARS = 2048


def merge(*texts: str) -> tuple[str, ...]:
    """The scopes in all the texts (each may hold several), one for each resource with all its actions; sorted, so that equal ones are equal."""
    resources: dict[str, set[str]] = {}
    for text in texts:
        for scope in text[:MAX_SCOPE_CHARS].split():
            resource, colon, actions = scope.rpartition(":")
            if colon and resource:
                resources.setdefault(resource, set()).update(_actions(actions))
    return tuple(f"{resource}:{','.join(sorted(actions))}" for resource, actions in sorted(resources.items()))


def repository(path: str, *actions: str) -> str:
    """The scope for actions on a repository: "pull", "push", "delete"."""
    return f"repository:{path}:{','.join(actions)}"


def covers(have: Iterable[str], want: Iterable[str]) -> bool:
    """Whether a token for the scopes `have` was asked to be good for `want` too; both merged."""
    there = {resource: _actions(rest) for resource, _, rest in (scope.rpartition(":") for scope in have)}
    return all(_actions(rest) <= there.get(resource, set()) for resource, _, rest in (scope.rpartition(":") for scope in want))


def _actions(text: str) -> set[str]:
    return set(filter(None, text.split(",")))
