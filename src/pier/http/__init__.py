"""HTTP/1.1 as Docker's clients speak it, on UNIX sockets: asyncio and h11 underneath, hijacked streams included.

`query`, `body` and `message` are pure; `connection` acts on one socket, `server` on a listening one. The server owns its
sockets without asyncio transports, so that a hijacked connection leaves the loop as a plain socket with the bytes that
were glued behind the request.
"""
