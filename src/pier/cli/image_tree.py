"""`pier images --tree`: each name with the platforms that it stands for, as Docker 28 lays it out."""

from pier.cli import terminal, units
from pier.cli.session import Cli
from pier.cli.tables import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

WARNING = "WARNING: This is an experimental feature. The output may change and shouldn't be depended on."
BRANCH, LAST_BRANCH = "├─ ", "└─ "
UNTAGGED = "<untagged>"
GAP = "   "
LEAST_NAME = 12  # columns of numbers go before names get narrower
LEAST_WIDTH, PIPE_WIDTH = 20, 80
COLUMNS = (("ID", 12), ("DISK USAGE", 10), ("CONTENT SIZE", 12), ("EXTRA", 5))
USED = " U "
# What a terminal shows in colours (ECMA-48, and the 256 colours of xterm).
PLAIN, BOLD, FAINT, NAME = "39", "39;1", "39;2", "34;1"
CHIP, CAUTION, HINT, HINT_MARK = "38;5;0;48;5;14", "93", "96", "1;106;30"


class Line:
    """A row: its name, the texts of its columns, whether it is a dim one (what is not here, what has no name)."""

    __slots__ = ("cells", "dim", "name", "used")

    def __init__(self, name: str, cells: "Sequence[str]", used: bool, dim: bool) -> None:
        self.name, self.cells, self.used, self.dim = name, cells, used, dim


class Group:
    """An image: all of its names but the last, the row of the last, the rows of its platforms."""

    __slots__ = ("children", "head", "names")

    def __init__(self, image: "dict[str, Any]") -> None:
        everything = image.get("Manifests") or []
        manifests = [one for one in everything if one.get("Kind") == "image"]
        self.children = [_child(one, number == len(manifests)) for number, one in enumerate(manifests, 1)]
        names = sorted(image.get("RepoTags") or [UNTAGGED], key=len, reverse=True)
        content = sum(one["Size"]["Content"] for one in everything)
        used = (image.get("Containers") or 0) > 0 or any(child.used for child in self.children)
        self.names = names[:-1]
        self.head = Line(names[-1], _cells(image["Id"], image.get("Size") or 0, content), used, names[-1] == UNTAGGED)


def show(cli: Cli, images: "list[dict[str, Any]]", every: bool) -> None:
    """Write the tree. every: also images that have neither a tag nor a digest."""
    shown = [image for image in images if every or image.get("RepoTags") or image.get("RepoDigests")]
    groups = [Group(image) for image in sorted(shown, key=lambda image: -int(image.get("Created") or 0))]
    columns_of_terminal = terminal.size(1)[1]
    cli.out(draw(groups, columns_of_terminal or PIPE_WIDTH, coloured=columns_of_terminal > 0))


def draw(groups: "list[Group]", width: int, *, coloured: bool) -> str:
    """The whole output. width: columns to stay in. coloured: for a terminal; a pipe gets no escape sequences, and names in full."""
    count, name_width = _fitting(groups, width)
    pen = _Pen(coloured)
    out = [pen(CAUTION, WARNING) + "\n", _legend(pen, width, coloured=coloured) + "\n\n"]
    titles = [_left("IMAGE", name_width, pen, BOLD)]
    titles += [_aligned(title, title, size, pen, BOLD) for title, size in COLUMNS[:count]]
    out.append(GAP.join(titles) + "\n")
    for group in groups:
        out += [pen(NAME, _cut(name, width) if coloured else name) + "\n" for name in group.names]
        for line in (group.head, *group.children):
            colour = FAINT if line.dim else PLAIN if line in group.children else NAME
            cells = [_left(line.name, name_width, pen, colour)]
            for (title, size), text in zip(COLUMNS[:count], line.cells, strict=False):
                cells.append(_aligned(title, text, size, pen, FAINT if line.dim else PLAIN))
            if count == len(COLUMNS):
                chip = USED if coloured else USED.strip()
                cells.append(_left(chip, COLUMNS[-1][1], pen, CHIP) if line.used else " " * COLUMNS[-1][1])
            out.append(GAP.join(cells) + "\n")
        out.append("\n")
    return "".join(out)


def _child(manifest: "dict[str, Any]", last: bool) -> Line:
    data, size = manifest["ImageData"], manifest["Size"]
    platform = data.get("Platform") or {}
    name = shown("/".join(filter(None, (platform.get("os"), platform.get("architecture"), platform.get("variant")))))
    cells = _cells(manifest["ID"], size["Total"], size["Content"])
    return Line((LAST_BRANCH if last else BRANCH) + name, cells, bool(data.get("Containers")), not manifest.get("Available"))


def _cells(identity: str, disk_bytes: int, content_bytes: int) -> list[str]:
    return [units.short_id(identity), units.human_size(disk_bytes, 3), units.human_size(content_bytes, 3)]


def _fitting(groups: "list[Group]", width: int) -> tuple[int, int]:
    """(how many columns there is room for, how wide the one of names is)."""
    left = max(width, LEAST_WIDTH)
    count = 0
    for _, size in COLUMNS:
        if left - size - len(GAP) < LEAST_NAME:
            break
        left -= size + len(GAP)
        count += 1
    lines = [line for group in groups for line in (group.head, *group.children)]
    # In bytes, as Docker counts: a branch is a few columns wider than it looks.
    widest = max([len("IMAGE"), *(len(line.name.encode()) for line in lines), *(len(name.encode()) for group in groups for name in group.names)])
    return count, min(left, widest)


def _legend(pen: "_Pen", width: int, *, coloured: bool) -> str:
    text = "i Info → " + f" {USED} In Use " if coloured else "Info -> " + f"{USED}In Use "
    drawn = f"{pen(HINT_MARK, 'i')} {pen(HINT, 'Info → ')} {pen(CHIP, USED)} In Use " if coloured else text
    return " " * max(0, width - len(text)) + drawn


def _left(text: str, size: int, pen: "_Pen", colour: str) -> str:
    text = _cut(text, size)
    return pen(colour, text) + " " * (size - len(text))


def _aligned(title: str, text: str, size: int, pen: "_Pen", colour: str) -> str:
    """Numbers to the right, the rest to the left."""
    if title in ("ID", "EXTRA"):
        return _left(text, size, pen, colour)
    return " " * (size - len(text)) + pen(colour, text)


def _cut(text: str, size: int) -> str:
    return units.ellipsis(text, size)


class _Pen:
    """Puts a text into escape sequences, where there is a terminal."""

    def __init__(self, coloured: bool) -> None:
        self.coloured = coloured

    def __call__(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.coloured else text
