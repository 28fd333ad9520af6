"""The tables of networks."""

SCHEMA = """
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
"""
