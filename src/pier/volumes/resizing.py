"""Another limit for a local volume that has one: `pier volume update --opt size=20G`, whoever has it, running or not.

Row, number and limit change in this order; a kill in between leaves what the row says, which the next start puts into the kernel (quotas.repair).
Only a limit that is there can be changed: what was written before it would not be counted, and who runs without it is not kept from evading it.
"""

from dataclasses import replace

from pier.errors import Conflict, Invalid
from pier.trace import point
from pier.volumes import options as checks
from pier.volumes.local_driver import NAME
from pier.volumes.records import VolumeRecord
from pier.volumes.volumes import Volumes


async def resize(volumes: Volumes, name: str, size: str) -> VolumeRecord:
    """size: as the option of that name. Raises NotFound, NotImplementedByPier (a plugin's), Invalid, Conflict (no limit; more is used), OSError."""
    with volumes.holding(name):  # it is not removed meanwhile
        async with volumes.lock(name):  # of who restores it, too: for that while both count
            record = volumes.get(name)
            wanted = checks.limit({"size": size})
            if not volumes.quotas.limit(name):
                raise Conflict(
                    f"update {name}: the volume has no limit, and none can be given to files that are there: "
                    f"create a volume with --opt size={size} and copy them"
                )
            if not wanted:
                raise Invalid(f"update {name}: a limit cannot be taken away: give the volume a larger one")
            taken = await volumes.quotas.taken(name)
            if taken > wanted:
                raise Conflict(f"update {name}: its files take {taken} bytes, which is more than a limit of {wanted}: remove some, or give it more")
            changed = replace(record, options={**(record.options or {}), "size": size})
            await volumes.quotas.change(record, changed)
            volumes.changed(changed)
            point("volumes.resized")
    volumes.publish("update", name, driver=NAME, size=str(wanted))
    return changed
