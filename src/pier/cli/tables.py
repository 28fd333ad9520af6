"""Tables as Go's tabwriter sets them with Docker's settings: columns of at least 10, three blanks between, the last one free."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PADDING = 3
LEAST = 10
_HARMLESS = "\u00a0\u200d"


def layout(rows: "Sequence[Sequence[str]]", least: int = LEAST, padding: int = PADDING) -> str:
    """The rows as lines. A column is as wide as its widest cell in the run of rows that have it, its last cell aside.

    What would move the cursor or colour the terminal is shown, not done: cells are also words of images and containers.
    """
    rows = [row if all(map(str.isprintable, row)) else list(map(shown, row)) for row in rows]
    if rows and rows[0] and all(len(row) == len(rows[0]) for row in rows):  # the common case is one block from end to end
        *sizes_of_all, _ = [max(map(len, column)) for column in zip(*rows, strict=True)]
        line = "".join(f"%-{max(size + padding, least)}s" for size in sizes_of_all) + "%s\n"
        return "".join([line % tuple(row) for row in rows])
    widths: list[list[int]] = [[] for _ in rows]
    _measure(rows, widths, 0, len(rows), 0, least, padding)
    lines = []
    for row, sizes in zip(rows, widths, strict=True):
        cells = [cell.ljust(size) for cell, size in zip(row, sizes, strict=False)]
        lines.append("".join(cells) + (row[-1] if row else "") + "\n")
    return "".join(lines)


def shown(text: str) -> str:
    """A text on one line of a terminal: control characters, and those that turn the direction of writing, as escapes."""
    return text if text.isprintable() else "".join(char if char.isprintable() or char in _HARMLESS else ascii(char)[1:-1] for char in text)


def _measure(rows: "Sequence[Sequence[str]]", widths: list[list[int]], start: int, end: int, column: int, least: int, padding: int) -> None:
    """Set the width of `column` for each block of neighbouring rows in which it is closed by a tab, then of those behind it."""
    row = start
    while row < end:
        if len(rows[row]) - 1 <= column:
            row += 1
            continue
        stop = row
        while stop < end and len(rows[stop]) - 1 > column:
            stop += 1
        widest = max(len(rows[at][column]) for at in range(row, stop))
        width = max(widest + padding, least)
        for at in range(row, stop):
            widths[at].append(width)
        _measure(rows, widths, row, stop, column + 1, least, padding)
        row = stop

