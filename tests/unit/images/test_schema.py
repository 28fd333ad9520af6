"""Databases of earlier daemons: whatever they held is found after the steps to today's schema."""

import sqlite3
from pathlib import Path

from pier.content import ContentStore
from pier.daemon.main import SCHEMAS
from pier.images.catalog import Catalog
from pier.images.image import Blob
from pier.images.names import Meaning
from pier.oci import digest as digests
from pier.oci.reference import parse
from pier.store import Store
from tests.unit.images.fakes import HOST, diff_id, parsed

DATA = Path(__file__).parent / "data"
ONE = "sha256:0450bf6ed987c6e1265e6ab2c62cef788db5b685d1ad2f84431785d094114189"
MANIFEST = "sha256:4f86d42bd58d601c0765657aa184772f6966463671158e0a74df1de5b3d6d2e3"


def test_the_database_of_the_first_daemons(tmp_path: Path) -> None:
    one, two, hidden = (parsed(name, layers, platform={**HOST, "architecture": "amd64"}) for name, layers in
                        (("one", ["base", "a"]), ("two", ["base", "b"]), ("three", ["c"])))  # fmt: skip
    content = ContentStore(tmp_path)
    for image in (one, two, hidden):
        content.write(image["config"].encode())
    old = sqlite3.connect(tmp_path / "state.db")
    old.executescript((DATA / "schema-3.sql").read_text())
    old.close()
    store = Store.open(tmp_path / "state.db", SCHEMAS)
    try:
        assert (tmp_path / "state.db.v3").exists(), "a copy from before the step, to go back to"
        catalog = Catalog.read(store, content)
        image = catalog.resolve("app:1")
        assert image.id == ONE == one["config_digest"] and image.manifest == MANIFEST and image.size == 2000
        assert image.references == (parse("127.0.0.1:5000/team/app:v1"), parse("app:1"), parse(f"app@{MANIFEST}"))
        assert [catalog.meaning(name) for name in image.references] == [Meaning(None, {ONE: MANIFEST})] * 3
        assert image.layers[0].blobs == (Blob(digests.of(b"blob of base"), "application/vnd.oci.image.layer.v1.tar+gzip"),)
        assert image.layers[1].blobs == () and (image.added_ns, image.last_tag_ns) == (1767323045_000000000, 1767323046_000000000)
        nameless = catalog.resolve(two["config_digest"])
        assert nameless.references == () and nameless.diff_ids == (diff_id("base"), diff_id("b"))
        assert [found.id for found in catalog.hidden()] == [hidden["config_digest"]]
        assert [row["name"] for row in store.read("SELECT name FROM containers")] == ["web"]
        assert not store.read("PRAGMA foreign_key_check")
    finally:
        store.close()
