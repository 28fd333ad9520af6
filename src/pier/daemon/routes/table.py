"""The table of all routes."""

from pier.daemon.router import Route
from pier.daemon.routes import (
    beyond,
    commits,
    containers,
    disk_usage,
    execs,
    image_transfer,
    images,
    later,
    networks,
    registries,
    streams,
    system,
    volumes,
    volumes_beyond,
)

ROUTES: tuple[Route, ...] = (
    *system.ROUTES,
    *disk_usage.ROUTES,
    *containers.ROUTES,
    *commits.ROUTES,
    *streams.ROUTES,
    *execs.ROUTES,
    *images.ROUTES,
    *image_transfer.ROUTES,
    *registries.ROUTES,
    *networks.ROUTES,
    *volumes.ROUTES,
    *volumes_beyond.ROUTES,
    *beyond.ROUTES,
    *later.ROUTES,
)
"""Everything that this version of Pier answers; what is not here is 404 `page not found`."""
