"""Whether a folder that `-v` is about to make on the host looks like a slip of the pen. Pure, but for listing what lies beside it."""

import os
from collections.abc import Collection, Sequence

_CLOSE = 0.8
_MOST_NAMES = 2000


def warning(source: str, volumes: Collection[str]) -> str:
    """What to say of a bind's source that is not there and is going to be made; "" where nothing looks like it. volumes: their names."""
    above, missing = _first_missing(source)
    names = _names(above)
    return told(source, above, missing, names, volumes)


def told(source: str, above: str, missing: str, siblings: Sequence[str], volumes: Collection[str]) -> str:
    """The same of what is known: `missing` is the first part that is not there, `above` the folder it would be in. Pure."""
    import difflib  # only where a folder is made

    made = f"{source} was not there: an empty folder was made"
    if above == "/" and missing in volumes and source.strip("/") == missing:
        return f"{made}. There is a volume {missing}: without the slash in front it is that."
    close = difflib.get_close_matches(missing, siblings, 1, _CLOSE)
    if close:
        return f"{made}. There is {os.path.join(above, close[0])}: --mount refuses a source that is not there."
    close = difflib.get_close_matches(missing, volumes, 1, _CLOSE) if source.strip("/") == missing else []
    return f"{made}. There is a volume {close[0]}." if close else ""


def _first_missing(path: str) -> tuple[str, str]:
    above = os.path.normpath(path)
    missing = ""
    while above != "/" and not os.path.lexists(above):
        above, missing = os.path.split(above)
    return above, missing


def _names(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry, _ in zip(entries, range(_MOST_NAMES), strict=False)]
    except OSError:
        return []
