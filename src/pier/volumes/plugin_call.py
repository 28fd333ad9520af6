"""One call of a plugin: a POST of JSON, answered by JSON. What it answers is not trusted: time and size are bounded, types are checked."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, TypeVar

import h11
import msgspec

from pier.errors import Internal, Unavailable
from pier.volumes.plugin_address import Address

MAX_ANSWER_BYTES = 1 << 20
_MAX_TEXT = 2000
_ACCEPT = "application/vnd.docker.plugins.v1.2+json"
T = TypeVar("T", bound="Answer")


class Answer(msgspec.Struct, frozen=True):
    """What every answer may have."""

    error: str = msgspec.field(name="Err", default="")


class NotThere(Unavailable):
    """The plugin does not know the method."""


async def call(plugin: str, address: Address, method: str, body: Mapping[str, Any], form: type[T], patience_s: float) -> T:
    """POST `/<method>`. Raises Internal with the plugin's own error, Unavailable where there is no (good) answer in time.

    Both name plugin and method.
    """
    what = f'plugin "{plugin}": {method}'
    try:
        async with asyncio.timeout(patience_s):
            status, data = await _exchange(address, method, msgspec.json.encode(body))
    except TimeoutError:
        raise Unavailable(f"{what}: no answer within {patience_s:g} s: does the plugin hang?") from None
    except (OSError, h11.ProtocolError, ssl.SSLError, ValueError) as error:
        raise Unavailable(f"{what}: {_text(str(error)) or type(error).__name__}: does the plugin run?") from None
    try:
        answer = msgspec.json.decode(data or b"{}", type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        if status != 404:
            raise Unavailable(f"{what}: status {status}, and an answer that is none: {_text(str(error))}") from None
        raise NotThere(f"{what}: the plugin does not have it") from None
    if answer.error:
        raise Internal(f"{what}: {_text(answer.error)}")
    if status == 404:
        raise NotThere(f"{what}: the plugin does not have it")
    if status != 200:
        raise Unavailable(f"{what}: status {status}")
    return answer


async def _exchange(address: Address, method: str, body: bytes) -> tuple[int, bytes]:
    if address.path:
        reader, writer = await asyncio.open_unix_connection(address.path)
    else:
        reader, writer = await asyncio.open_connection(address.host, address.port, ssl=_context(address))
    try:
        connection = h11.Connection(h11.CLIENT)
        headers = [("Host", address.host or "plugin"), ("Accept", _ACCEPT), ("Content-Type", _ACCEPT), ("Connection", "close")]
        headers.append(("Content-Length", str(len(body))))
        request = h11.Request(method="POST", target=f"/{method}", headers=headers)
        writer.write(connection.send(request) + connection.send(h11.Data(body)) + connection.send(h11.EndOfMessage()))
        await writer.drain()
        status, parts, size = 0, [], 0
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(1 << 16))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                size += len(event.data)
                if size > MAX_ANSWER_BYTES:
                    raise ValueError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return status, b"".join(parts)
            elif isinstance(event, h11.ConnectionClosed):
                raise ValueError("the connection ended before the answer")
    finally:
        writer.transport.abort()


def _context(address: Address) -> ssl.SSLContext | None:
    tls = address.tls
    if tls is None:
        return None
    context = ssl.create_default_context(cafile=tls.authority or None)
    if tls.skip_verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if tls.certificate:
        context.load_cert_chain(tls.certificate, tls.key or None)
    return context


def _text(words: str) -> str:
    """A plugin's words for a terminal: one line, no control bytes, not endless."""
    line = "".join(letter if letter.isprintable() else " " for letter in words[:_MAX_TEXT])
    return " ".join(line.split())
