"""A whole session over TLS, and certificates that are not to be trusted."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trustme

from stage import KELLY
from trialogue import (
    AzureRealtime,
    Backoff,
    ConfigurationError,
    ConnectionLost,
    ConnectRefused,
    OpenAIRealtime,
    SessionOptions,
    open_session,
)
from trialogue.realtime.listener import Listener
from trialogue.testing import RealtimeServer, Settings, voice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trialogue.realtime.replies import Response

KEY = "sk-test-key"
AUTHORITY = trustme.CA()


class Loudspeaker(Listener):
    """Keeps what is to be played."""

    def __init__(self) -> None:
        self.pcm = bytearray()

    def audio(self, response: Response, item_id: str, pcm: bytes) -> None:
        self.pcm += pcm


def trusting(authority: trustme.CA = AUTHORITY) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@asynccontextmanager
async def serving_tls(
    *names: str, client_authority: trustme.CA | None = None, **options: Any
) -> AsyncIterator[RealtimeServer]:
    """A server with a certificate for these names (by default its address)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
    if client_authority is not None:
        client_authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    with trio.fail_after(30):
        async with RealtimeServer(**options).serving() as server:
            await server.listen(ssl_context=context)
            yield server


def model_of(
    server: RealtimeServer, context: ssl.SSLContext | None, manner: str = "openai"
) -> OpenAIRealtime | AzureRealtime:
    if manner == "azure":
        endpoint = f"https://127.0.0.1:{server.port}"
        return AzureRealtime(
            "gpt-realtime", endpoint=endpoint, api_key=KEY, ssl_context=context
        )
    return OpenAIRealtime(api_key=KEY, base_url=server.url, ssl_context=context)


# --- a conversation -------------------------------------------------------------------


@pytest.mark.behaviour("X2")
@pytest.mark.parametrize("manner", ["openai", "azure"])
async def test_session_with_replies_and_audio_both_ways(manner: str) -> None:
    """Every sample pushed arrives in order, and what is said is heard."""
    listener = Loudspeaker()
    pcm = voice("hello", 700)
    async with (
        serving_tls(settings=Settings(keys=frozenset([KEY]))) as server,
        open_session(
            model_of(server, trusting(), manner),
            instructions=KELLY,
            options=SessionOptions(turn_detection=None),
            listener=listener,
        ) as session,
    ):
        for at in range(0, len(pcm), 960):
            session.push_audio(pcm[at : at + 960])
            await trio.lowlevel.checkpoint()
        assert (await session.commit_audio()).ok
        reply = await session.generate_reply()
        assert reply.outcome == "completed"
        [connection] = server.connections
        assert connection.audio == pcm
        assert {told for _, told, _ in server.heard(bytes(listener.pcm))} == {KELLY}
    assert connection.close_code == 1000
    assert server.protocol_errors == []


# --- certificates ---------------------------------------------------------------------


@pytest.mark.behaviour("X2", "C1")
@pytest.mark.parametrize("manner", ["openai", "azure"])
@pytest.mark.parametrize("fault", ["unknown authority", "nobody's", "other name"])
async def test_wrong_certificate_is_refused_before_anything_is_sent(
    fault: str, manner: str
) -> None:
    """One attempt, a typed error, and neither key nor request leaves the program."""
    names = ("elsewhere.test",) if fault == "other name" else ()
    contexts = {
        "unknown authority": trusting(trustme.CA()),
        "nobody's": None,
        "other name": trusting(),
    }
    async with serving_tls(*names) as server:
        with pytest.raises(ConnectRefused, match="certificate of 127") as caught:
            async with open_session(model_of(server, contexts[fault], manner)):
                pytest.fail("that certificate proves nothing")
        assert caught.value.status is None
        assert (server.dials, server.connections) == (1, [])


@pytest.mark.behaviour("X2")
async def test_client_certificate_is_shown_where_it_is_asked_for() -> None:
    clients = trustme.CA()
    known = trusting()
    clients.issue_cert("caller@client.test").configure_cert(known)
    async with serving_tls(client_authority=clients) as server:
        async with open_session(model_of(server, known)) as session:
            assert (await session.generate_reply()).text
        with pytest.raises(ConnectionLost):
            async with open_session(
                model_of(server, trusting()), backoff=Backoff(first_attempts=1)
            ):
                pytest.fail("no certificate was shown")
        assert len(server.connections) == 1


@pytest.mark.behaviour("X2")
def test_plain_address_of_another_machine_needs_an_opt_in() -> None:
    for make in (
        lambda **o: OpenAIRealtime(base_url="ws://far.test/v1/realtime", **o),
        lambda **o: AzureRealtime("d", endpoint="http://far.test", **o),
    ):
        with pytest.raises(ConfigurationError, match="in the clear"):
            make()
        assert make(allow_insecure=True).name
