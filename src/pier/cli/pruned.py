"""One kind of what is pruned: ask the daemon, show what went. `container`, `image`, `network`, `volume` and `system prune` share it."""

from pier.cli.formats import filters
from pier.cli.session import Cli


def prune(cli: Cli, noun: str, wanted: list[str]) -> int:
    """Prune "Containers", "Images", "Networks" or "Volumes" and show what went; the bytes that are free again. wanted: filters. Raises ApiError."""
    report = cli.client().post(f"/{noun.lower()}/prune", filters(wanted))
    if deleted := report.get(f"{noun}Deleted"):
        cli.out(f"Deleted {noun}:\n" + "".join(_line(item) for item in deleted) + "\n")
    return int(report.get("SpaceReclaimed") or 0)


def dangling(every: bool) -> str:
    """The filter of images that says whether those with a name go, too."""
    return f"dangling={'false' if every else 'true'}"


def _line(item: "str | dict[str, str]") -> str:
    if isinstance(item, str):
        return f"{item}\n"
    return f"untagged: {item['Untagged']}\n" if item.get("Untagged") else f"deleted: {item['Deleted']}\n"
