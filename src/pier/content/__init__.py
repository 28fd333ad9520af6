"""Blobs by digest: whatever has a digest and is worth keeping as it came (configurations, manifests, compressed layers).

    <data-root>/content/blobs/sha256/<hex>     immutable: written, fsynced, verified, then renamed to here
    <data-root>/content/ingests/<key>/data     a blob that is being written
    <data-root>/content/ingests/blob-<hex>/    a blob of that digest on its way from elsewhere, kept over any interruption (partial.py)
    <data-root>/content/ingests/scratch-<hex>/ a worker's folder, gone when its job is over, at the latest at the next start

True at every instant: a name under blobs/ has the bytes of its digest, durably; nothing there is ever changed, only removed when no
root reaches it any more.
"""

from pier.content.ingest import Ingest
from pier.content.partial import Part, Partial
from pier.content.store import ContentStore

__all__ = ["ContentStore", "Ingest", "Part", "Partial"]
