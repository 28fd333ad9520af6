"""The tables of images. The blobs of configurations and manifests hold the truth; these rows say which are here and what they are called."""

SCHEMA = """
CREATE TABLE images (
    id TEXT PRIMARY KEY,                -- digest of the configuration
    manifest_digest TEXT,               -- blob of the manifest it came with, NULL where it had none
    parent TEXT NOT NULL DEFAULT '',    -- ID of the image it was made from here
    added_ns INTEGER NOT NULL,          -- wall clock
    last_tag_ns INTEGER NOT NULL DEFAULT 0,  -- 0: never tagged
    hidden INTEGER NOT NULL DEFAULT 0   -- 1: removed by force while containers use it; goes with the last of them
) WITHOUT ROWID;
CREATE TABLE tags (
    reference TEXT PRIMARY KEY,         -- oci.reference.key_of: domain/path:tag or domain/path@digest
    image_id TEXT NOT NULL REFERENCES images (id)
) WITHOUT ROWID;
CREATE INDEX tags_by_image ON tags (image_id);
CREATE TABLE layers (
    diff_id TEXT PRIMARY KEY,
    size_bytes INTEGER NOT NULL,        -- of the files in it
    blob_digest TEXT,                   -- its compressed blob, NULL where none is kept
    media_type TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE image_layers (
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,          -- 0 is the bottom
    diff_id TEXT NOT NULL REFERENCES layers (diff_id),
    PRIMARY KEY (image_id, position)
) WITHOUT ROWID;
CREATE INDEX image_layers_by_layer ON image_layers (diff_id);
"""
