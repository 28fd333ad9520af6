"""What every type of the wire contract shares."""

import msgspec


class Model(msgspec.Struct, kw_only=True, rename="pascal"):
    """A JSON object of the Engine API: attribute `host_config` is `HostConfig` on the wire.

    A name that plain PascalCase does not give (`ID`, `IPAddress`) says so: `msgspec.field(name="ID")`.
    """
