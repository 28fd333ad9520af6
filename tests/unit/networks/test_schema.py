"""What earlier daemons wrote is read by this one."""

import asyncio
import sqlite3
from pathlib import Path

from pier.networks.records import Records
from pier.networks.schema import SCHEMA, STEPS
from pier.store import Store


def test_the_predefined_networks_and_their_leases_move(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "state.db", [SCHEMA])

    def fill(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO network VALUES ('bridge', 'aa', 5, 'bridge', 'pier0', '172.17.5.1/16')")
        connection.execute("INSERT INTO network VALUES ('none', 'bb', 6, 'null', '', '')")
        connection.execute("INSERT INTO network_endpoint VALUES ('c1', 'bridge', 'e1', '172.17.0.2', '02:00:00:00:00:02', 'pier0123')")
        connection.execute("INSERT INTO network_endpoint VALUES ('c2', 'none', 'e2', NULL, '', '')")

    asyncio.run(store.write(fill))
    store.close()
    store = Store.open(tmp_path / "state.db", STEPS)
    bridge, none = Records(store).networks()
    assert (bridge.name, bridge.id, bridge.link, bridge.created_ns, none.name, none.driver) == ("bridge", "aa", "pier0", 5, "none", "null")
    assert [(subnet.network, subnet.gateway) for subnet in bridge.subnets] == [("172.17.0.0/16", "172.17.5.1")]
    rows = [tuple(row) for row in Records(store).endpoints()]
    assert rows == [
        ("c1", "aa", "e1", "eth0", "172.17.0.2", None, "02:00:00:00:00:02", "pier0123", 0),
        ("c2", "bb", "e2", "", None, None, "", "", 0),
    ]
    store.close()
