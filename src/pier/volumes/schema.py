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
BEYOND = """
CREATE TABLE volume_rename (        -- before the folder is renamed, until the volume's row has its new name
    old TEXT PRIMARY KEY,
    new TEXT NOT NULL
) STRICT;
CREATE TABLE volume_snapshot (      -- its files lie in the volume's folder, snapshots/<name>
    volume TEXT NOT NULL,
    name TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    PRIMARY KEY (volume, name)
) STRICT;
"""
TRASH = """
CREATE TABLE volume_trash (         -- its folder is in .bin of the volumes' folder
    folder TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    options TEXT NOT NULL,
    labels TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    removed_ns INTEGER NOT NULL,
    snapshots TEXT NOT NULL,        -- JSON: [[name, created_ns], ...]
    size INTEGER NOT NULL           -- bytes on the disk when it was removed
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
PROJECTS = """
CREATE TABLE volume_project (       -- a number of the file system's, before it limits a volume, until after
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- never given twice
    volume TEXT NOT NULL UNIQUE,    -- its name; '.bin/<folder>' in the trash
    size INTEGER NOT NULL           -- the limit in bytes
) STRICT;
"""
