"""The kernel's interface, one file for each area of the manual; no policy, and nothing of Pier above it."""
