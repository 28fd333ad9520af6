"""The tables of networks."""

import sqlite3
from ipaddress import ip_interface

from pier.networks.model import Network, Subnet, encode
from pier.store.schema import statements

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

_OBJECTS = """
CREATE TABLE networks (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    record BLOB NOT NULL        -- JSON of model.Network
) STRICT;
CREATE TABLE endpoints (
    container_id TEXT NOT NULL,
    network_id TEXT NOT NULL,
    id TEXT NOT NULL,
    interface TEXT NOT NULL,    -- 'eth0', '' for host and none
    ipv4 TEXT,                  -- '172.17.0.2'
    ipv6 TEXT,
    mac TEXT NOT NULL,
    host_interface TEXT NOT NULL,
    priority INTEGER NOT NULL,  -- for the default gateway
    PRIMARY KEY (container_id, network_id),
    UNIQUE (network_id, ipv4),
    UNIQUE (network_id, ipv6)
) STRICT;
"""


def objects(connection: sqlite3.Connection) -> None:
    """The step to networks of users: what the predefined three had moves into the new tables."""
    for statement in statements(_OBJECTS):
        connection.execute(statement)
    for name, identity, created_ns, driver, link, interface in connection.execute(
        "SELECT name, id, created_ns, driver, bridge, interface FROM network"
    ).fetchall():
        gateway = ip_interface(interface) if interface else None
        subnets = (Subnet(network=str(gateway.network), gateway=str(gateway.ip)),) if gateway else ()
        network = Network(id=identity, name=name, created_ns=created_ns, driver=driver, link=link, subnets=subnets)
        connection.execute("INSERT INTO networks(id, name, record) VALUES (?,?,?)", (identity, name, encode(network)))
    connection.execute(
        "INSERT INTO endpoints SELECT e.container_id, n.id, e.id, CASE WHEN e.address IS NULL THEN '' ELSE 'eth0' END, e.address, NULL,"
        " e.mac, e.host_interface, 0 FROM network_endpoint e JOIN network n ON n.name = e.network"
    )
    connection.execute("DROP TABLE network_endpoint")
    connection.execute("DROP TABLE network")


PUBLISHED = """
CREATE TABLE published (
    container_id TEXT PRIMARY KEY,  -- its row stays while the container does: what was given at random is given again
    bindings TEXT NOT NULL,         -- JSON: [[protocol, port of the container, address of the host, its port], ...]
    active INTEGER NOT NULL         -- 0: it runs without a gateway
) STRICT;
"""

STEPS = (SCHEMA, objects, PUBLISHED)
"""All of them, for a store that holds nothing else."""
