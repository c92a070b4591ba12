"""Dialling: which URLs are taken, and what each failure of TCP and TLS becomes."""

from __future__ import annotations

import datetime
import socket
import ssl
import struct
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import trio
import trustme
from wsproto.events import CloseConnection

from trialogue.errors import ConfigurationError, ConnectionLost, ConnectRefused
from trialogue.realtime.dial import Target, parse_url, tcp_connector
from trialogue.realtime.link import Link, open_link
from websocket_peer import Peer, serving

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

pytestmark = pytest.mark.usefixtures("each_engine")

SECRET = "sk-not-for-the-log"
AUTHORITY = trustme.CA()


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def server_context(*names: str, authority: trustme.CA = AUTHORITY) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


def opened(
    target: Target, context: ssl.SSLContext | None = None
) -> AbstractAsyncContextManager[tuple[Link, trio.Nursery]]:
    return open_link(
        tcp_connector(target, ssl_context=context),
        host=target.authority,
        resource=target.resource,
        headers=[("Authorization", f"Bearer {SECRET}")],
        connect_timeout=5,
        close_timeout=2,
    )


async def behave(peer: Peer) -> None:
    await peer.accept()
    await peer.echo_forever()


# --- URLs ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host", "port", "resource", "secure", "authority"),
    [
        ("wss://api.test/v1?model=m", "api.test", 443, "/v1?model=m", True, "api.test"),
        ("WSS://API.test", "api.test", 443, "/", True, "api.test"),
        ("wss://api.test:8443?x", "api.test", 8443, "/?x", True, "api.test:8443"),
        ("wss://api.test:80/", "api.test", 80, "/", True, "api.test:80"),
        ("ws://localhost:9/a", "localhost", 9, "/a", False, "localhost:9"),
        ("ws://127.0.0.1", "127.0.0.1", 80, "/", False, "127.0.0.1"),
        ("ws://[::1]:9/", "::1", 9, "/", False, "[::1]:9"),
        ("wss://[fe80::1]/", "fe80::1", 443, "/", True, "[fe80::1]"),
    ],
)
def test_url_is_taken_apart(
    url: str, host: str, port: int, resource: str, secure: bool, authority: str
) -> None:
    target = parse_url(url)
    assert target == Target(host=host, port=port, resource=resource, secure=secure)
    assert target.authority == authority


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        (f"https://api.test/{SECRET}", "scheme is https; use wss://"),
        (f"api.test/{SECRET}", "scheme is missing"),
        (f"wss:///{SECRET}", "no host"),
        (f"wss:{SECRET}", "no host"),
        (f"wss://user:{SECRET}@api.test/", "user or password"),
        (f"wss://api.test/#{SECRET}", "fragment"),
        (f"wss://api.test:port/{SECRET}", "malformed"),
        (f"wss://api.test:70000/{SECRET}", "malformed"),
        (f"wss://api.test:0/{SECRET}", "malformed"),
        (f"wss://[::1/{SECRET}", "malformed"),
        (f"wss://api..test/{SECRET}", "malformed"),
        (f"wss://{'a' * 64}.test/{SECRET}", "malformed"),
        (f"wss://api.test/{SECRET}\n", "percent-encode"),
        (f"wss://api.test/ {SECRET}", "percent-encode"),
        (f"wss://bücher.test/{SECRET}", "xn--"),
        ("", "empty"),
    ],
)
def test_url_that_cannot_work_is_refused_without_quoting_it(
    url: str, complaint: str
) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        parse_url(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.behaviour("X2")
@pytest.mark.parametrize(
    "host", ["api.test", "192.168.0.7", "[2001:db8::1]", "0.0.0.0"]
)
def test_plain_url_to_another_host_needs_an_opt_in(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"in the clear.*allow_insecure"):
        parse_url(f"ws://{host}/")
    assert not parse_url(f"ws://{host}/", allow_insecure=True).secure


def test_repr_of_a_target_hides_what_may_hold_a_key() -> None:
    assert SECRET not in repr(parse_url(f"wss://api.test/?key={SECRET}"))


def test_tls_settings_for_a_plain_url_are_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="wss://"):
        tcp_connector(parse_url("ws://localhost"), ssl_context=client_context())


# --- TCP -------------------------------------------------------------------------


async def test_tcp_is_without_nagle_delay() -> None:
    async def hold(peer: Peer) -> None:
        await peer.stream.receive_some()

    async with serving(hold) as (port, _):
        stream = await tcp_connector(parse_url(f"ws://127.0.0.1:{port}/"))()
        assert isinstance(stream, trio.SocketStream)
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await stream.aclose()


async def test_connector_dials_any_number_of_times() -> None:
    async with serving(behave) as (port, peers):
        target = parse_url(f"ws://localhost:{port}/")
        for _ in range(3):
            async with opened(target) as (link, _):
                await link.send("hello")
                assert await link.receive() == "hello"
        assert [peer.close_code for peer in peers] == [1000, 1000, 1000]


async def test_connection_reset_in_the_handshake_may_be_tried_again_at_once() -> None:
    async def reset(peer: Peer) -> None:
        await peer.event()
        assert isinstance(peer.stream, trio.SocketStream)
        no_linger = struct.pack("ii", 1, 0)
        peer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)

    async with serving(reset) as (port, _):
        with (
            trio.fail_after(2),
            pytest.raises(ConnectionLost, match="hung up") as caught,
        ):
            async with opened(parse_url(f"ws://localhost:{port}/")):
                pytest.fail("the connection was reset")
        assert type(caught.value) is ConnectionLost


@pytest.mark.parametrize("secure", [False, True])
async def test_port_where_nothing_listens_may_be_tried_again(secure: bool) -> None:
    with socket.socket() as idle:
        idle.bind(("127.0.0.1", 0))
        port = idle.getsockname()[1]
        target = parse_url(f"{'wss' if secure else 'ws'}://127.0.0.1:{port}/")
        with pytest.raises(
            ConnectionLost, match=rf"127.0.0.1 port {port}.*refused"
        ) as caught:
            async with opened(target):
                pytest.fail("nothing listens there")
        assert type(caught.value) is ConnectionLost


async def test_name_that_does_not_resolve_may_be_tried_again() -> None:
    class NoSuchName(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *_: Any, **__: Any) -> NoReturn:
            await trio.lowlevel.checkpoint()
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async def getnameinfo(self, *_: Any, **__: Any) -> NoReturn:
            raise AssertionError

    trio.socket.set_custom_hostname_resolver(NoSuchName())
    with pytest.raises(
        ConnectionLost, match=r"api\.test port 443.*not known"
    ) as caught:
        async with opened(parse_url("wss://api.test/")):
            pytest.fail("there is no such name")
    assert type(caught.value) is ConnectionLost


# --- TLS -------------------------------------------------------------------------


async def test_tls_from_end_to_end() -> None:
    async with serving(behave, ssl_context=server_context("localhost")) as (
        port,
        peers,
    ):
        target = parse_url(f"wss://localhost:{port}/")
        async with opened(target, client_context()) as (link, _):
            await link.send("hello")
            assert await link.receive() == "hello"
        assert peers[0].close_code == 1000


async def test_peer_that_keeps_tls_open_behind_the_close_does_not_hold_us() -> None:
    """No wait for the peer's close_notify: WebSocket has said goodbye already."""

    async def close_and_stay(peer: Peer) -> None:
        await peer.accept()
        assert isinstance(await peer.event(), CloseConnection)
        await peer.close()
        await trio.sleep_forever()

    context = server_context("localhost")
    async with serving(close_and_stay, ssl_context=context) as (port, _):
        with trio.fail_after(1):
            async with opened(parse_url(f"wss://localhost:{port}/"), client_context()):
                pass


async def fail_handshake(peer: Peer) -> None:
    with pytest.raises(trio.BrokenResourceError):
        await peer.event()


@pytest.mark.behaviour("X2")
@pytest.mark.parametrize("fault", ["other name", "unknown authority", "expired"])
async def test_certificate_that_is_not_valid_for_the_host_is_refused(
    fault: str,
) -> None:
    if fault == "other name":
        context = server_context("elsewhere.test")
    elif fault == "unknown authority":
        context = server_context("localhost", authority=trustme.CA())
    else:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        AUTHORITY.issue_cert("localhost", not_after=past).configure_cert(context)
    async with serving(fail_handshake, ssl_context=context) as (port, _):
        with pytest.raises(ConnectRefused, match="certificate of localhost"):
            async with opened(parse_url(f"wss://localhost:{port}/"), client_context()):
                pytest.fail("that certificate proves nothing")


@pytest.mark.behaviour("X2")
async def test_own_authority_is_not_trusted_by_default() -> None:
    context = server_context("localhost")
    async with serving(fail_handshake, ssl_context=context) as (port, _):
        with pytest.raises(ConnectRefused, match="certificate of localhost"):
            async with opened(parse_url(f"wss://localhost:{port}/")):
                pytest.fail("nobody vouches for that certificate")


async def test_port_that_does_not_speak_tls_is_refused() -> None:
    async def speak_plainly(peer: Peer) -> None:
        await peer.stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.stream.receive_some()

    async with serving(speak_plainly) as (port, _):
        with pytest.raises(ConnectRefused, match="does not agree on TLS"):
            async with opened(parse_url(f"wss://localhost:{port}/"), client_context()):
                pytest.fail("that was no TLS")


async def test_peer_that_hangs_up_in_the_tls_handshake_may_be_tried_again() -> None:
    async def hang_up(peer: Peer) -> None:
        await peer.stream.receive_some()

    async with serving(hang_up) as (port, _):
        with pytest.raises(ConnectionLost, match="hung up") as caught:
            async with opened(parse_url(f"wss://localhost:{port}/"), client_context()):
                pytest.fail("the peer hung up")
        assert type(caught.value) is ConnectionLost


async def test_tls_handshake_that_is_never_answered_ends_at_the_deadline() -> None:
    async def stay(peer: Peer) -> None:
        while await peer.stream.receive_some():
            pass

    async with serving(stay) as (port, _):
        target = parse_url(f"wss://localhost:{port}/")
        with pytest.raises(ConnectionLost, match=r"within 0\.1 s"):
            async with open_link(
                tcp_connector(target, ssl_context=client_context()),
                host=target.authority,
                resource="/",
                connect_timeout=0.1,
                close_timeout=1,
            ):
                pytest.fail("nobody answered")
