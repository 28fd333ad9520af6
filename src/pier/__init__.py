"""Pier: a container platform."""
