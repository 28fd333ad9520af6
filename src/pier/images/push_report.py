"""What a push tells its client: Docker's lines."""

from collections.abc import Callable

from pier.images import progress
from pier.oci.reference import Reference

PREPARING, WAITING, EXISTS, PUSHED, FOREIGN = "Preparing", "Waiting", "Layer already exists", "Pushed", "Skipped foreign layer"


def mounted(source: Reference) -> str:
    """The status of a layer that the registry took from another repository."""
    return f"Mounted from {source.path}"


class Report:
    """Puts lines. Use from the loop's thread."""

    def __init__(self, put: Callable[[progress.Line], None]) -> None:
        self._put = put

    def begins(self, reference: Reference) -> None:
        """The first line."""
        self.status(f"The push refers to repository [{reference.domain or 'docker.io'}/{reference.path}]")

    def status(self, text: str) -> None:
        """A line about the whole."""
        self._put({"status": text})

    def notice(self, text: str) -> None:
        """Something is retried."""
        self.status(text[:1].upper() + text[1:])

    def layer(self, diff_id: str, status: str) -> None:
        """What becomes of a layer."""
        self._put(progress.step(status, _short(diff_id), 0, 0))

    def pushing(self, diff_id: str, current: int, total: int) -> None:
        """How far a layer is."""
        self._put(progress.step("Pushing", _short(diff_id), current, total))

    def instead(self, fields: dict[str, object]) -> None:
        """A manifest goes in place of an index."""
        self._put({"progressDetail": {}, "aux": fields})

    def done(self, tag: str, digest: str, size: int) -> None:
        """The manifest is there."""
        self.status(f"{tag}: digest: {digest} size: {size}")
        self._put({"progressDetail": {}, "aux": {"Tag": tag, "Digest": digest, "Size": size}})


def _short(diff_id: str) -> str:
    return diff_id.removeprefix("sha256:")[:12]
