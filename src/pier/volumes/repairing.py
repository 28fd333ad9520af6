"""What a crash leaves of volumes, and what becomes of it."""

import asyncio

from pier.volumes.volumes import Users, Volumes


async def repair(volumes: Volumes, running: Users) -> list[str]:
    """At start, once the containers are known: folders and rows are made to fit, mounts that nobody uses go. Returns a line for each repair.

    A renaming that was begun is ended first: a folder without a row is thrown away. Raises OSError.
    """
    local, done = volumes.local, await _end_renames(volumes)
    done += await volumes.bin.repair() if volumes.bin else []
    own = set(volumes.own())
    for name in set(await asyncio.to_thread(local.names)) - own:
        await asyncio.to_thread(local.remove, name)
        done.append(f"the folder of a volume {name} that was never made, or was removed, is gone")
    for name in own:
        if not local.path(name).is_dir():
            await asyncio.to_thread(local.create, name)
            done.append(f"volume {name} had lost its folder: an empty one was made")
        local.end_work(name)
        for snapshot in set(local.snapshots(name)) - {known for known, _ in volumes.records.snapshots(name)}:
            local.discard(local.snapshot(name, snapshot))
        await volumes.unmount(name, "", running)
    return done + await volumes.quotas.repair(own, await asyncio.to_thread(local.in_bin))


async def _end_renames(volumes: Volumes) -> list[str]:
    done = []
    for old, new in volumes.records.renames():
        await asyncio.to_thread(volumes.local.rename, old, new)
        await volumes.records.end_rename(old, new, done=True)
        volumes.renamed(old, new)
        done.append(f"volume {old} is called {new}: the renaming had been interrupted")
    return done
