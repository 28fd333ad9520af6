"""The database: one file, one writer thread, reads where they are needed. Each noun owns its tables.

    <data-root>/state.db            what must outlive a power cut        (synchronous=FULL)
    <data-root>/state.db-wal,-shm   SQLite's own
    <data-root>/state.db.lock       held by flock while a daemon uses it; contains its pid
    <data-root>/state.db.backup     a whole copy, at most ten minutes older than the last change
    <data-root>/state.db.v3         the copy made before the step from schema 3 to 4
    <exec-root>/volatile.db         what a reboot may forget              (synchronous=OFF, no copies)

True at every instant: what `write` returned for is in the file; half a transaction never is.
"""

from pier.store.database import Store
from pier.store.schema import Step

__all__ = ["Step", "Store"]
