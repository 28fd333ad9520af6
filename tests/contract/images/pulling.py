"""How the tests of pulls look at lines, and at what a registry was asked."""

from typing import Any

from pier.registry.config import RegistryConfig
from tests.harness.registry import FakeRegistry
from tests.harness.registry_images import architecture

HERE = f"linux/{architecture()}"
FAST = RegistryConfig(max_attempts=1)  # what fails fails at once


def statuses(lines: list[dict[str, Any]], name: str = "") -> list[str]:
    """What was said of a layer (by its digest), or of the whole; progress said several times is said once."""
    short = name.removeprefix("sha256:")[:12]
    found = [line.get("status", line.get("error", "")) for line in lines if (line.get("id", "") == short if short else "progressDetail" not in line)]
    return [status for at, status in enumerate(found) if at == 0 or found[at - 1] != status]


def fetched(registry: FakeRegistry, digest: str) -> list[tuple[int, int | None]]:
    """The ranges that were asked for of a blob: (from, to), to None where it was to the end."""
    ranges = [request.headers.get("range", "bytes=0-").removeprefix("bytes=") for request in registry.asked(f"GET .*/blobs/{digest}")]
    return [(int(low), int(high) if high else None) for low, _, high in (text.partition("-") for text in ranges)]
