"""The link: one WebSocket connection, whatever library speaks WebSocket beneath it.

A link is text in, text out, ping and close. It adds what such libraries leave to their
users: the stream is ours and always closed; leaving takes at most `close_timeout`,
whatever the peer does; the peer gets a Close frame also when the program is cancelled;
nothing is ever sent after a frame that was cut short; every failure is one typed error.

The library is chosen here, once: `websockets`, which the extra `fast` brings, where it
can be imported, trio-websocket otherwise. Both are held to the same tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import trio

from trialogue.errors import ConfigurationError, ConnectionLost
from trialogue.realtime.link_engine import Drain, Link, Upgrade, WebSocketEngine
from trialogue.realtime.services import open_services
from trialogue.realtime.upgrade import checked_headers, checked_subprotocols

__all__ = ["ENGINE", "FAST", "Link", "WebSocketEngine", "engine_called", "open_link"]

Connect: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]


def engine_called(name: WebSocketEngine) -> type[Link]:
    """Return an engine by the name of the package that it is made of.

    Raises:
        ConfigurationError: there is no such engine, or its package is not installed.
    """
    match name:
        case "trio-websocket":
            from trialogue.realtime.trio_websocket_link import TrioWebSocketLink

            return TrioWebSocketLink
        case "websockets":
            try:
                from trialogue.realtime.websockets_link import WebSocketsLink
            except ImportError as error:
                raise ConfigurationError(
                    "the package websockets (15 or later) is not installed; "
                    "pip install 'trialogue[fast]'"
                ) from error
            return WebSocketsLink
        case _:
            raise ConfigurationError(
                f"there is no WebSocket engine {name!r}; "
                "'websockets' and 'trio-websocket' are"
            )


def _fastest() -> type[Link]:
    try:
        return engine_called("websockets")
    except ConfigurationError:
        return engine_called("trio-websocket")


FAST = _fastest()
"""The engine in use, unless a model asks for another."""

ENGINE: Final[WebSocketEngine] = FAST.package
"""The package that it is made of."""


@asynccontextmanager
async def open_link(
    connect: Connect,
    *,
    host: str,
    resource: str,
    headers: Sequence[tuple[str, str]] = (),
    subprotocols: Sequence[str] = (),
    connect_timeout: float,
    close_timeout: float,
    max_message_size: int = 16 * 2**20,
    drain: Drain | None = None,
    engine: type[Link] | None = None,
) -> AsyncIterator[tuple[Link, trio.Nursery]]:
    """Open a link, and a service nursery that cancellation of the block does not reach.

    The connection's reader, writer and keepalive belong in the service nursery.
    Leaving the block, in any way, does all of this within one shielded allowance of
    `close_timeout` seconds: `drain()` is awaited, the Close frame is sent, the peer's
    is waited for. Then the services are cancelled and the stream is closed. If the
    connection is gone, or goes meanwhile, the first steps are cut short.

    The block's own exception comes out as the same object, unwrapped. If a service
    raises ConnectionLost the block is cancelled and that error comes out; anything else
    a service raises is a bug and comes out in a group.

    Args:
        connect: gives the connected stream, which the link then owns.
        host: the Host header: the name, and the port unless it is the scheme's own.
        resource: path and query.
        headers: further request headers. Their values appear in no error and no repr.
        connect_timeout: seconds for `connect` and the WebSocket handshake together.
        close_timeout: seconds for leaving.
        max_message_size: characters in a message; a longer one ends the link (1009).
        drain: waits until everything meant for the peer has been sent.
        engine: what speaks WebSocket; by default the fastest that is installed.

    Raises:
        ConfigurationError: a header that HTTP does not allow. Nothing was opened.
        ConnectRefused: the server refused the upgrade, or is no WebSocket server.
        ConnectionLost: the server was not reached in time, hung up, or is overloaded
            (408, 425, 429, 5xx); trying again may help.
    """
    upgrade = Upgrade(
        host,
        resource,
        headers=checked_headers(headers),
        subprotocols=checked_subprotocols(subprotocols),
        max_message_size=max_message_size,
    )
    link = (engine or FAST)(host)
    stream: trio.abc.Stream | None = None

    async def farewell() -> None:
        await link.leave(drain)

    try:
        async with open_services(farewell, allowance=close_timeout) as service:
            try:
                with trio.fail_after(connect_timeout):
                    stream = await _connected(connect, host)
                    await link.start(stream, upgrade, service)
            except trio.TooSlowError:
                message = f"no connection to {host} within {connect_timeout:g} s"
                raise ConnectionLost(message) from None
            yield link, service
    finally:
        if stream is not None:
            with trio.move_on_after(0, shield=True):  # by force: it does not wait
                await trio.aclose_forcefully(stream)


async def _connected(connect: Connect, host: str) -> trio.abc.Stream:
    try:
        return await connect()
    except (OSError, trio.BrokenResourceError) as exc:
        message = f"could not connect to {host}: {exc}"
        raise ConnectionLost(message) from exc
