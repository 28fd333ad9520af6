"""Rows of the result and how they are printed. Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One figure: Pier's, its peers' (None: not there), the bar and whether it is met (None: cannot be judged here). Times in milliseconds."""

    what: str
    pier: float | None
    docker: float | None = None
    podman: float | None = None
    unit: str = "ms"
    bar: str = ""
    met: bool | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times faster than Docker."""
        return self.docker / self.pier if self.docker and self.pier else None

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio}


def judged(row: Row, *, least_ratio: float = 0.0, most: float = 0.0) -> Row:
    """The row with its bar: at least so many times faster than Docker, and at most so much. A bar whose peer is missing is not judged."""
    bars, verdicts = [], []
    if least_ratio:
        bars.append(f">= {least_ratio:g}x")
        verdicts.append(None if row.ratio is None else row.ratio >= least_ratio)
    if most:
        bars.append(f"< {most:g} {row.unit}")
        verdicts.append(None if row.pier is None else row.pier < most)
    met = False if False in verdicts else None if None in verdicts else True
    return Row(**{**asdict(row), "bar": ", ".join(bars), "met": met})


def median_ms(seconds: Sequence[float]) -> float:
    """Median of durations in seconds, as milliseconds."""
    return statistics.median(seconds) * 1000


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which `part` (0-1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def render(rows: Sequence[Row]) -> str:
    """The table as text."""
    head = ("what", "Pier", "Docker", "Podman", "ratio", "bar", "", "note")
    lines = [head]
    for row in rows:
        ratio = f"{row.ratio:.1f}x" if row.ratio else ""
        verdict = {True: "met", False: "MISSED", None: "-"}[row.met] if row.bar else ""
        figures = (number(figure, row.unit) for figure in (row.pier, row.docker, row.podman))
        lines.append((row.what, *figures, ratio, row.bar, verdict, row.note))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def number(value: float | None, unit: str) -> str:
    """A figure with its unit, three digits that mean something."""
    if value is None:
        return ""
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}" if value >= 1 else f"{value:.3f} {unit}"
