"""The tables of containers."""

SCHEMA = """
CREATE TABLE containers (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  created_ns INTEGER NOT NULL,
  image_id TEXT NOT NULL,
  record BLOB NOT NULL,
  state BLOB NOT NULL
) STRICT, WITHOUT ROWID;
"""

VOLATILE_SCHEMA = """
CREATE TABLE running (
  key TEXT PRIMARY KEY,
  boot_id TEXT NOT NULL,
  pid INTEGER NOT NULL,
  start_time INTEGER NOT NULL,
  started_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

# Containers that stand still while they are read (freeze.py).
FROZEN = """
CREATE TABLE frozen (
  key TEXT PRIMARY KEY,
  boot_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""

# What is known of a running container's checks (health.Health as JSON).
HEALTH = "ALTER TABLE running ADD COLUMN health BLOB;"

VOLATILE_STEPS = (VOLATILE_SCHEMA, FROZEN, HEALTH)
