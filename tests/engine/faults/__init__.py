"""Faults: kills at every point, lost helpers, races, rude clients, mounts that hang; one criterion (shared/security.md)."""
