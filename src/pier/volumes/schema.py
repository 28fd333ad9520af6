"""The table of volumes."""

SCHEMA = """
CREATE TABLE volume (
    name TEXT PRIMARY KEY,
    driver TEXT NOT NULL,
    options TEXT NOT NULL,          -- JSON of the driver's options as given; 'null' where none were
    labels TEXT NOT NULL,           -- JSON as given
    created_ns INTEGER NOT NULL
) STRICT;
"""
MOUNTS = """
CREATE TABLE volume_mount (         -- before a plugin is asked to mount, until it has unmounted
    volume TEXT NOT NULL,
    driver TEXT NOT NULL,
    container TEXT NOT NULL,
    PRIMARY KEY (volume, container)
) STRICT;
"""
