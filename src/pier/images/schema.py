"""The tables of images. The blobs of configurations and manifests hold the truth; these rows say which are here and what they are called."""

SCHEMA = """
CREATE TABLE images (
    id TEXT PRIMARY KEY,                -- digest of the configuration
    manifest_digest TEXT,               -- blob of the manifest it came with first, NULL where it had none
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

# A name for several platforms, a layer in several compressed forms. Took effect as step 4 of state.db.
VARIANTS = """
DROP INDEX tags_by_image;
ALTER TABLE tags RENAME TO tags_of_one;
CREATE TABLE tags (
    reference TEXT NOT NULL,            -- oci.reference.key_of: domain/path:tag or domain/path@digest
    image_id TEXT NOT NULL REFERENCES images (id),
    manifest_digest TEXT,               -- the manifest by which the name means this image, NULL where it had none
    index_digest TEXT,                  -- the index that the name stands for, the same in all its rows; NULL: it stands for this image alone
    PRIMARY KEY (reference, image_id)
) WITHOUT ROWID;
INSERT INTO tags (reference, image_id, manifest_digest)
    SELECT reference, image_id, (SELECT manifest_digest FROM images WHERE id = image_id) FROM tags_of_one;
DROP TABLE tags_of_one;
CREATE INDEX tags_by_image ON tags (image_id);
CREATE TABLE layer_blobs (              -- the compressed forms of a layer that are kept; they go with the layer
    diff_id TEXT NOT NULL REFERENCES layers (diff_id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (diff_id, digest)
) WITHOUT ROWID;
INSERT INTO layer_blobs (diff_id, digest, media_type) SELECT diff_id, blob_digest, media_type FROM layers WHERE blob_digest IS NOT NULL;
ALTER TABLE layers DROP COLUMN blob_digest;
ALTER TABLE layers DROP COLUMN media_type;
"""

# Where a layer is known to be, for mounts between repositories. Took effect as step 5 of state.db.
SOURCES = """
CREATE TABLE layer_sources (
    diff_id TEXT NOT NULL REFERENCES layers (diff_id) ON DELETE CASCADE,
    repository TEXT NOT NULL,           -- oci.reference.Reference.repository
    digest TEXT NOT NULL,               -- of the blob there, kept here or not
    size_bytes INTEGER NOT NULL,        -- of that blob
    media_type TEXT NOT NULL,
    seen_ns INTEGER NOT NULL,           -- wall clock
    PRIMARY KEY (diff_id, repository, digest)
) WITHOUT ROWID;
"""

STEPS = (SCHEMA, VARIANTS, SOURCES)
