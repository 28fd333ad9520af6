"""Volumes: data that outlives containers.

    volume                          the table (schema.py): what was created, with which options
    <data-root>/volumes/<name>/     of the local driver: `_data`, the volume itself; `populating` while an image's files are copied into it

True at every instant: a row names a folder that is there; a folder without a row is what a crash left, and repair takes it away.
"""

from pier.volumes.options import ANONYMOUS_LABEL
from pier.volumes.plugins import Plugins
from pier.volumes.schema import SCHEMA
from pier.volumes.volumes import Users, Volumes

__all__ = ["ANONYMOUS_LABEL", "SCHEMA", "Plugins", "Users", "Volumes"]
