"""Typed messages with file descriptors between Pier's own processes, over AF_UNIX SOCK_SEQPACKET.

A message is a JSON object (`op`, or `re` for an answer, and fields) and a list of file descriptors. One packet carries
at most 64 KiB and 32 descriptors; a longer text travels as a sealed memfd, more descriptors in packets ahead of it.
Each first message of a connection carries the protocol version.
"""

from typing import TYPE_CHECKING, Any

from pier.ipc.channel import MAX_FDS, MAX_INLINE_BYTES, PROTOCOL_VERSION, Channel, pair

if TYPE_CHECKING:
    from pier.ipc.aio import AsyncChannel, PeerGone, RemoteError

__all__ = ["MAX_FDS", "MAX_INLINE_BYTES", "PROTOCOL_VERSION", "AsyncChannel", "Channel", "PeerGone", "RemoteError", "pair"]


def __getattr__(name: str) -> Any:
    """The asyncio half only where it is asked for: the helpers stay without asyncio (12 MB each)."""
    if name in ("AsyncChannel", "PeerGone", "RemoteError"):
        from pier.ipc import aio

        return getattr(aio, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
