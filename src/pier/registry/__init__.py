"""Registries: which host serves one, and a client of the OCI distribution API. Blocking and thread-safe; no state on disk (docs/contracts.md)."""
