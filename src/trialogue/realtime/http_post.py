"""One HTTP POST over a stream that we dial: for the requests beside a session.

h11 speaks HTTP without I/O; dialling, TLS and the deadline are the ones that a session
has. The connection is closed after its one answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import h11
import trio

from trialogue.errors import ConnectionLost, ConnectRefused
from trialogue.realtime.upgrade import checked_headers

if TYPE_CHECKING:
    from trialogue.realtime.access import Connect, Headers
    from trialogue.realtime.dial import Target

__all__ = ["Answer", "post"]

MAX_BODY: Final = 2**20
_CHUNK: Final = 65536


@attrs.frozen
class Answer:
    """An HTTP answer, whatever its status."""

    status: int
    body: bytes = attrs.field(repr=False)


async def post(
    connect: Connect,
    target: Target,
    *,
    headers: Headers,
    body: bytes,
    within: float,
    max_body: int = MAX_BODY,
) -> Answer:
    """Send JSON and read the answer.

    Cancelling closes the connection; the request may have been carried out.

    Args:
        connect: gives the connected stream, which is closed here.
        target: whom to ask, and for which resource.
        headers: further request headers; their values appear in no error.
        body: the JSON.
        within: seconds for everything.
        max_body: bytes of an answer; a longer one is not read to its end.

    Raises:
        ConfigurationError: a header that HTTP does not allow. Nothing was opened.
        ConnectRefused: the peer does not speak HTTP, or answers without end.
        ConnectionLost: it was not reached in time, or hung up.
    """
    request = h11.Request(
        method=b"POST",
        target=target.resource.encode(),
        headers=[
            (b"Host", target.authority.encode()),
            (b"Content-Type", b"application/json"),
            (b"Content-Length", b"%d" % len(body)),
            (b"Connection", b"close"),
            *checked_headers(headers),
        ],
    )
    http = h11.Connection(h11.CLIENT)
    with trio.move_on_after(within):
        stream = await _dialled(connect, target)
        try:
            return await _exchange(http, stream, request, body, max_body)
        except trio.BrokenResourceError as error:
            raise _hung_up(target) from error
        except h11.RemoteProtocolError as error:
            _, ended = http.trailing_data
            raise (_hung_up(target) if ended else _no_http(target)) from error
        except OverflowError:
            message = f"{target.authority} answered with over {max_body} bytes"
            raise ConnectRefused(message) from None
        finally:
            with trio.move_on_after(0, shield=True):  # by force: it does not wait
                await trio.aclose_forcefully(stream)
    raise ConnectionLost(f"no answer from {target.authority} within {within:g} s")


async def _dialled(connect: Connect, target: Target) -> trio.abc.Stream:
    try:
        return await connect()
    except (OSError, trio.BrokenResourceError) as error:
        message = f"could not connect to {target.authority}: {error}"
        raise ConnectionLost(message) from error


async def _exchange(
    http: h11.Connection,
    stream: trio.abc.Stream,
    request: h11.Request,
    body: bytes,
    max_body: int,
) -> Answer:
    await stream.send_all(
        (http.send(request) or b"")
        + (http.send(h11.Data(data=body)) or b"")
        + (http.send(h11.EndOfMessage()) or b"")
    )
    status, received = 0, bytearray()
    while True:
        event = http.next_event()
        match event:
            case h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some(_CHUNK)))
            case h11.Response():
                status = event.status_code
            case h11.Data():
                received += event.data
                if len(received) > max_body:
                    raise OverflowError
            case h11.EndOfMessage():
                return Answer(status, bytes(received))


def _hung_up(target: Target) -> ConnectionLost:
    return ConnectionLost(f"{target.authority} hung up before it had answered")


def _no_http(target: Target) -> ConnectRefused:
    return ConnectRefused(
        f"{target.authority} does not answer like an HTTP server; check the URL"
    )
