"""A server that is reached over HTTP, by an HTTP client that bounds what it reads."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, cast

import httpx2
from mcp.client.streamable_http import streamable_http_client

from trialogue.errors import ConfigurationError
from trialogue.mcp.secrets import revealed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from mcp.client._transport import TransportStreams

    from trialogue.mcp.connection import Connection
    from trialogue.mcp.servers import MCPServerStreamableHttp

__all__ = ["http_transport"]

_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
_SESSION: Final = "mcp-session-id"


@asynccontextmanager
async def http_transport(
    server: MCPServerStreamableHttp, connection: Connection
) -> AsyncIterator[TransportStreams]:
    """Speak to the server around a block.

    Raises:
        ConfigurationError: a header is none.
    """
    headers = await revealed(server.headers, within=server.open_timeout)
    _check(headers)
    client = httpx2.AsyncClient(
        # What is not compressed cannot become more than was read.
        headers={**headers, "accept-encoding": "identity"},
        transport=_Bounded(server, connection),
        timeout=httpx2.Timeout(server.open_timeout),
    )
    async with (
        client,
        streamable_http_client(
            server.url,
            http_client=client,
            max_sse_event_size=server.max_message_bytes,
        ) as streams,
    ):
        yield streams


def _check(headers: dict[str, str]) -> None:
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} is no name of an HTTP header")
        if not _VALUE.fullmatch(value):
            msg = f"the value of header {name!r} is empty, or no text for a header"
            raise ConfigurationError(msg)


class _Bounded(httpx2.AsyncBaseTransport):
    """Sends requests, and bounds what comes back, in size and in time.

    A request that the server leaves without an answer is answered here, with 504: an
    exception would end the connection, and with it the calls beside it.
    """

    def __init__(self, server: MCPServerStreamableHttp, connection: Connection) -> None:
        self._inner = httpx2.AsyncHTTPTransport()
        self._most = server.max_message_bytes
        self._connection = connection
        # The call itself is given up before that; then nobody waits for the answer.
        self._patience = server.call_timeout + 1

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        listening = request.method == "GET"
        timeout = request.extensions.get("timeout", {})
        read = None if listening else self._patience
        request.extensions["timeout"] = {**timeout, "read": read}
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.ReadTimeout:
            return httpx2.Response(504, request=request)
        if response.status_code == 404 and _SESSION in request.headers:
            self._connection.forgotten = True
        encoding = response.headers.get("content-encoding", "identity")
        events = response.headers.get("content-type", "").startswith(
            "text/event-stream"
        )
        most = None if events else self._most
        if encoding.strip().lower() != "identity":
            most = 0
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _BoundedStream(response.stream, most)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    """The body of an answer. `StreamError` costs the package only that answer."""

    def __init__(self, inner: httpx2.AsyncByteStream, most: int | None) -> None:
        self._inner = inner
        self._chunks: AsyncGenerator[bytes, None] | None = None
        self._left = most

    def __aiter__(self) -> AsyncIterator[bytes]:
        # A generator, which has to be closed where it is left in the middle.
        self._chunks = cast("AsyncGenerator[bytes, None]", aiter(self._inner))
        return self

    async def __anext__(self) -> bytes:
        assert self._chunks is not None
        try:
            chunk = await anext(self._chunks)
        except httpx2.TransportError as error:
            msg = f"the answer broke off: {type(error).__name__}"
            raise httpx2.StreamError(msg) from error
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                msg = "the answer is longer than allowed, or compressed"
                raise httpx2.StreamError(msg)
        return chunk

    async def aclose(self) -> None:
        if self._chunks is not None:
            await self._chunks.aclose()
        await self._inner.aclose()
