"""What a user configures about registries."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """insecure: domains whose certificates are not checked and that may speak plain http."""

    insecure: tuple[str, ...] = ()
