"""Which repositories are known to have a layer, and as which blob: a push mounts it from there instead of sending it.

A row says what was true when it was seen; whoever relies on it asks the registry. Rows go with their layer.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from pier.store import Store

_MOST_OF_A_LAYER = 50


@dataclass(frozen=True)
class LayerSource:
    """A layer as a blob of a repository (`Reference.repository`), pulled from there or pushed to it."""

    diff_id: str
    digest: str
    size_bytes: int
    media_type: str
    repository: str


def remember(connection: sqlite3.Connection, sources: Iterable[LayerSource], now_ns: int) -> None:
    """Rows for sources that were seen just now, the oldest of a layer going where it has more than 50; inside a transaction.

    A layer that has no row any more is passed over: somebody removed it meanwhile.
    """
    for source in sources:
        connection.execute(
            "INSERT INTO layer_sources (diff_id, digest, size_bytes, media_type, repository, seen_ns)"
            " SELECT diff_id, ?, ?, ?, ?, ? FROM layers WHERE diff_id = ?"
            " ON CONFLICT (diff_id, repository, digest) DO UPDATE SET seen_ns = excluded.seen_ns, media_type = excluded.media_type",
            (source.digest, source.size_bytes, source.media_type, source.repository, now_ns, source.diff_id),
        )
        connection.execute(
            "DELETE FROM layer_sources WHERE diff_id = ?1 AND (repository, digest) NOT IN"
            " (SELECT repository, digest FROM layer_sources WHERE diff_id = ?1 ORDER BY seen_ns DESC LIMIT ?2)",
            (source.diff_id, _MOST_OF_A_LAYER),
        )


def known(store: Store, diff_id: str) -> list[LayerSource]:
    """Where a layer was seen, the latest first."""
    rows = store.read(
        "SELECT diff_id, digest, size_bytes, media_type, repository FROM layer_sources WHERE diff_id = ?"
        " ORDER BY seen_ns DESC, repository, digest",
        (diff_id,),
    )
    return [LayerSource(*row) for row in rows]
