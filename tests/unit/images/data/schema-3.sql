-- state.db as the daemon of schema 3 wrote it (sqlite3 .dump): two images with names and without, one hidden, one that came with a manifest.
BEGIN TRANSACTION;
CREATE TABLE containers (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  created_ns INTEGER NOT NULL,
  image_id TEXT NOT NULL,
  record BLOB NOT NULL,
  state BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "containers" VALUES('cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','web',1767323047000000000,'sha256:4beb63f2d066d4cc5c7a56a8d096339f75ffda0b2dfc66690bb2752b30e145d9',X'7B7D',X'7B7D');
CREATE TABLE image_layers (
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,          -- 0 is the bottom
    diff_id TEXT NOT NULL REFERENCES layers (diff_id),
    PRIMARY KEY (image_id, position)
) WITHOUT ROWID;
INSERT INTO "image_layers" VALUES('sha256:4beb63f2d066d4cc5c7a56a8d096339f75ffda0b2dfc66690bb2752b30e145d9',0,'sha256:2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6');
INSERT INTO "image_layers" VALUES('sha256:8b1e3646ab03eb16ef6764944d66fb0f3af0c307d3d51ab369f41bd5faa6ba8f',1,'sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d');
INSERT INTO "image_layers" VALUES('sha256:0450bf6ed987c6e1265e6ab2c62cef788db5b685d1ad2f84431785d094114189',1,'sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb');
INSERT INTO "image_layers" VALUES('sha256:0450bf6ed987c6e1265e6ab2c62cef788db5b685d1ad2f84431785d094114189',0,'sha256:cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2');
INSERT INTO "image_layers" VALUES('sha256:8b1e3646ab03eb16ef6764944d66fb0f3af0c307d3d51ab369f41bd5faa6ba8f',0,'sha256:cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2');
CREATE TABLE images (
    id TEXT PRIMARY KEY,                -- digest of the configuration
    manifest_digest TEXT,               -- blob of the manifest it came with, NULL where it had none
    parent TEXT NOT NULL DEFAULT '',    -- ID of the image it was made from here
    added_ns INTEGER NOT NULL,          -- wall clock
    last_tag_ns INTEGER NOT NULL DEFAULT 0,  -- 0: never tagged
    hidden INTEGER NOT NULL DEFAULT 0   -- 1: removed by force while containers use it; goes with the last of them
) WITHOUT ROWID;
INSERT INTO "images" VALUES('sha256:0450bf6ed987c6e1265e6ab2c62cef788db5b685d1ad2f84431785d094114189','sha256:4f86d42bd58d601c0765657aa184772f6966463671158e0a74df1de5b3d6d2e3','',1767323045000000000,1767323046000000000,0);
INSERT INTO "images" VALUES('sha256:4beb63f2d066d4cc5c7a56a8d096339f75ffda0b2dfc66690bb2752b30e145d9',NULL,'',1767323045000000000,1767323046000000000,1);
INSERT INTO "images" VALUES('sha256:8b1e3646ab03eb16ef6764944d66fb0f3af0c307d3d51ab369f41bd5faa6ba8f',NULL,'',1767323045000000000,0,0);
CREATE TABLE layers (
    diff_id TEXT PRIMARY KEY,
    size_bytes INTEGER NOT NULL,        -- of the files in it
    blob_digest TEXT,                   -- its compressed blob, NULL where none is kept
    media_type TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
INSERT INTO "layers" VALUES('sha256:2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6',1000,NULL,'tar');
INSERT INTO "layers" VALUES('sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d',1000,NULL,'tar');
INSERT INTO "layers" VALUES('sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb',1000,NULL,'tar');
INSERT INTO "layers" VALUES('sha256:cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2',1000,'sha256:cd34cdcb7801e61b758baa63e77a8204fa0fb5c67ab21d5bf975760bdfdd510e','application/vnd.oci.image.layer.v1.tar+gzip');
CREATE TABLE network (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    created_ns INTEGER NOT NULL,
    driver TEXT NOT NULL,
    bridge TEXT NOT NULL,       -- the link's name, '' for host and none
    interface TEXT NOT NULL     -- the gateway with its prefix, '172.17.0.1/16', '' for host and none
) STRICT;
CREATE TABLE network_endpoint (
    container_id TEXT PRIMARY KEY,
    network TEXT NOT NULL,
    id TEXT NOT NULL,
    address TEXT,               -- '172.17.0.2'
    mac TEXT NOT NULL,
    host_interface TEXT NOT NULL,
    UNIQUE (network, address)
) STRICT;
CREATE TABLE network_fact (
    name TEXT PRIMARY KEY,      -- 'boot_id', 'ip_forward'
    value TEXT NOT NULL
) STRICT;
CREATE TABLE tags (
    reference TEXT PRIMARY KEY,         -- oci.reference.key_of: domain/path:tag or domain/path@digest
    image_id TEXT NOT NULL REFERENCES images (id)
) WITHOUT ROWID;
INSERT INTO "tags" VALUES('/library/app:1','sha256:0450bf6ed987c6e1265e6ab2c62cef788db5b685d1ad2f84431785d094114189');
INSERT INTO "tags" VALUES('/library/app@sha256:4f86d42bd58d601c0765657aa184772f6966463671158e0a74df1de5b3d6d2e3','sha256:0450bf6ed987c6e1265e6ab2c62cef788db5b685d1ad2f84431785d094114189');
INSERT INTO "tags" VALUES('127.0.0.1:5000/team/app:v1','sha256:0450bf6ed987c6e1265e6ab2c62cef788db5b685d1ad2f84431785d094114189');
CREATE INDEX tags_by_image ON tags (image_id);
CREATE INDEX image_layers_by_layer ON image_layers (diff_id);
COMMIT;
PRAGMA user_version=3;
