"""The client side of the API: a sans-I/O HTTP core, a blocking face on it, contexts of Docker's format.

The command line lives on this package and starts in milliseconds, so nothing here imports asyncio, msgspec, re,
dataclasses, json or socket on the way of an ordinary request.
"""
