"""Typed messages with file descriptors between Pier's own processes, over AF_UNIX SOCK_SEQPACKET.

A message is a JSON object (`op`, or `re` for an answer, and fields) and a list of file descriptors. One packet carries
at most 64 KiB and 32 descriptors; a longer text travels as a sealed memfd, more descriptors in packets ahead of it.
Each first message of a connection carries the protocol version.
"""

from pier.ipc.aio import AsyncChannel, PeerGone, RemoteError
from pier.ipc.channel import MAX_FDS, MAX_INLINE_BYTES, PROTOCOL_VERSION, Channel, pair

__all__ = ["MAX_FDS", "MAX_INLINE_BYTES", "PROTOCOL_VERSION", "AsyncChannel", "Channel", "PeerGone", "RemoteError", "pair"]
