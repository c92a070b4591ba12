"""Keys that are fetched for each connection, and what becomes of those that fail."""

from __future__ import annotations

import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from wsproto.events import AcceptConnection, Request

from stage import model_of, realtime_stage, until
from trialogue import (
    AzureRealtime,
    ConfigurationError,
    ConnectionLost,
    ConnectRefused,
    OpenAIRealtime,
    Secret,
    TrialogueError,
    open_session,
)
from trialogue.testing import RealtimeServer, Settings, cut, refuse_upgrade
from websocket_peer import Peer, playing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

KEY = "sk-proj-0123456789abcdef"


class Keys:
    """A source of keys: one after the other, the last one for ever."""

    def __init__(self, *keys: str | Secret) -> None:
        self.keys = keys
        self.asked = 0

    async def __call__(self) -> str | Secret:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        return self.keys[min(self.asked, len(self.keys)) - 1]


async def opened(source: Any, connect: Any, seconds: float = 5) -> None:
    model = OpenAIRealtime(
        api_key=source, base_url="ws://localhost/v1/realtime", connect=connect
    )
    async with model.open_link(connect_timeout=seconds, close_timeout=1):
        pass


async def no_connect() -> trio.abc.Stream:
    pytest.fail("nothing may be dialled without a key")


async def headers_sent(source: Any) -> dict[str, str]:
    sent: dict[str, str] = {}

    async def behave(peer: Peer) -> None:
        request = await peer.event()
        assert isinstance(request, Request)
        sent.update({k.decode(): v.decode() for k, v in request.extra_headers})
        await peer.send(AcceptConnection())
        await peer.echo_forever()

    async with playing(behave) as line:
        await opened(source, line.connect)
    return sent


# --- where a key may come from --------------------------------------------------------


async def a_coroutine() -> str:
    return f"{KEY}\n"


async def a_hidden_one() -> Secret:
    return Secret(KEY)


@pytest.mark.parametrize(
    "source",
    [KEY, Secret(KEY), lambda: KEY, lambda: Secret(KEY), a_coroutine, a_hidden_one],
    ids=["text", "secret", "plain", "plain hidden", "async", "async hidden"],
)
async def test_key_is_text_or_secret_or_what_a_function_returns(source: Any) -> None:
    assert (await headers_sent(source))["authorization"] == f"Bearer {KEY}"


@pytest.mark.behaviour("C2")
async def test_each_reconnect_asks_for_the_key_anew(autojump_clock: MockClock) -> None:
    keys = Keys("first", "second")
    async with realtime_stage(model={"api_key": keys}) as (server, session):
        assert keys.asked == 1
        server.inject(cut(after="response.done"))
        await session.generate_reply()
        await until(lambda: len(server.live) == 1 and len(server.connections) == 2)
        await session.generate_reply()
        assert keys.asked == 2


# --- functions that fail --------------------------------------------------------------


async def test_function_that_hangs_is_a_failed_attempt_and_is_cancelled(
    autojump_clock: MockClock,
) -> None:
    ended = trio.Event()

    async def hang() -> str:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError

    with pytest.raises(ConnectionLost, match="api_key returned no key within 5 s"):
        await opened(hang, no_connect)
    assert ended.is_set()
    assert trio.current_time() == 5


@pytest.mark.behaviour("C6")
async def test_time_that_the_key_takes_is_part_of_the_connect_deadline(
    autojump_clock: MockClock,
) -> None:
    async def slow() -> str:
        await trio.sleep(3)
        return KEY

    async def silent(peer: Peer) -> None:
        await peer.stay()

    async with playing(silent) as line:
        with pytest.raises(ConnectionLost, match="within 2 s"):
            await opened(slow, line.connect)
        assert trio.current_time() == 5


async def test_exception_of_the_function_is_a_lost_connection_with_a_cause() -> None:
    fault = OSError("the token endpoint is down")

    async def fail() -> str:
        raise fault

    with pytest.raises(ConnectionLost, match="api_key raised OSError") as caught:
        await opened(fail, no_connect)
    assert type(caught.value) is ConnectionLost
    assert caught.value.__cause__ is fault


@pytest.mark.parametrize(
    "fault", [ConnectRefused("no such tenant"), ConfigurationError("no tenant given")]
)
async def test_error_of_ours_from_the_function_passes_as_it_is(
    fault: TrialogueError,
) -> None:
    def fail() -> str:
        raise fault

    with pytest.raises(type(fault)) as caught:
        await opened(fail, no_connect)
    assert caught.value is fault


@pytest.mark.parametrize("wrong", [None, b"bytes", 7])
async def test_function_that_returns_no_key_is_named(wrong: Any) -> None:
    kind = type(wrong).__name__
    with pytest.raises(ConfigurationError, match=f"api_key returned a {kind}; it has"):
        await opened(lambda: wrong, no_connect)


async def test_function_that_returns_an_empty_key_is_named() -> None:
    with pytest.raises(ConfigurationError, match="api_key returned no key"):
        await opened(lambda: " \n", no_connect)


def test_what_can_be_no_key_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="api_key is of type bytes"):
        OpenAIRealtime(api_key=b"key")  # type: ignore[arg-type]


@pytest.mark.behaviour("C1", "C8")
async def test_session_retries_a_function_that_fails_for_a_while(
    autojump_clock: MockClock,
) -> None:
    asked = 0

    async def unsteady() -> str:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise OSError("try again")
        return KEY

    async with realtime_stage(model={"api_key": unsteady}) as (server, session):
        assert (asked, server.dials) == (3, 1)
        assert (await session.generate_reply()).text


@pytest.mark.behaviour("C7")
async def test_session_ends_with_the_error_when_a_later_key_cannot_be_had(
    autojump_clock: MockClock,
) -> None:
    """A configuration error ends it at once, as itself and in no group."""
    fault = ConfigurationError("the credential was revoked")
    asked = 0

    async def once() -> str:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise fault
        return KEY

    async with RealtimeServer().serving() as server:
        with pytest.raises(ConfigurationError) as caught:  # noqa: PT012 - a block
            async with open_session(model_of(server, api_key=once)) as session:
                server.inject(cut(after="response.done"))
                await session.generate_reply()
                await trio.sleep_forever()
    assert caught.value is fault
    assert asked == 2


# --- a refused key --------------------------------------------------------------------


@pytest.mark.behaviour("C1")
@pytest.mark.parametrize(("status", "asked"), [(401, 2), (403, 1)])
async def test_key_that_expired_on_the_way_is_fetched_once_more(
    status: int, asked: int, autojump_clock: MockClock
) -> None:
    keys = Keys("old", "new", "newer")
    async with RealtimeServer(faults=[refuse_upgrade(status)]).serving() as server:
        if status == 401:
            await opened(keys, server.connect)
        else:
            with pytest.raises(ConnectRefused):
                await opened(keys, server.connect)
    assert (keys.asked, server.dials) == (asked, asked)


@pytest.mark.behaviour("C1")
@pytest.mark.parametrize(("keys", "dials"), [(["same"], 1), (["old", "new", "x"], 2)])
async def test_refused_key_is_final_if_the_next_is_the_same_or_refused_as_well(
    keys: list[str], dials: int, autojump_clock: MockClock
) -> None:
    source = Keys(*keys)
    async with RealtimeServer(faults=[refuse_upgrade(401, 9)]).serving() as server:
        with pytest.raises(ConnectRefused) as caught:
            async with open_session(model_of(server, api_key=source)):
                pytest.fail("no key was good")
    assert (caught.value.status, source.asked, server.dials) == (401, 2, dials)


@pytest.mark.behaviour("C1")
async def test_token_that_expired_between_two_connections_is_replaced(
    autojump_clock: MockClock,
) -> None:
    """As with tokens of Entra ID: the old one is refused at the reconnect."""
    good = {"token-1"}
    fresh = iter(["token-1", "token-1", "token-2"])

    async def token() -> str:
        return next(fresh)

    settings = Settings(keys=good)  # type: ignore[arg-type]  # it changes
    async with RealtimeServer(settings=settings).serving() as server:
        model = AzureRealtime(
            "gpt-realtime",
            endpoint="http://localhost",
            token=token,
            connect=server.connect,
        )
        async with open_session(model) as session:
            good.clear()
            good.add("token-2")
            server.inject(cut(after="response.done"))
            await session.generate_reply()
            await until(lambda: len(server.connections) == 2)
            assert (await session.generate_reply()).text
    assert server.dials == 3


# --- the value ------------------------------------------------------------------------


@pytest.mark.behaviour("H2")
@pytest.mark.parametrize(
    "make",
    [OpenAIRealtime, partial(AzureRealtime, "d", resource="r")],
    ids=["openai", "azure"],
)
def test_models_with_the_same_function_are_equal(make: Callable[..., Any]) -> None:
    one, another = Keys(KEY), Keys(KEY)
    assert make(api_key=one) == make(api_key=one)
    assert hash(make(api_key=one)) == hash(make(api_key=one))
    assert make(api_key=one) != make(api_key=another)
    assert make(api_key=KEY) == make(api_key=Secret(KEY))


async def fetch(key: str) -> str:
    return key


@pytest.mark.behaviour("X1")
@pytest.mark.parametrize(
    "make",
    [OpenAIRealtime, partial(AzureRealtime, "d", resource="r")],
    ids=["openai", "azure"],
)
def test_key_bound_into_a_function_is_not_shown(make: Callable[..., Any]) -> None:
    bound: Callable[[], Awaitable[str]] = partial(fetch, KEY)
    assert KEY in repr(bound)
    model = make(api_key=bound)
    assert KEY not in repr(model)
    assert KEY not in repr(model.access())


@pytest.mark.behaviour("X1")
async def test_fetched_key_is_in_no_error_of_a_refusal() -> None:
    async def behave(peer: Peer) -> None:
        await peer.refuse(401, KEY.encode())

    async with playing(behave) as line:
        with pytest.raises(ConnectRefused) as caught:
            await opened(partial(fetch, KEY), line.connect)
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.behaviour("X1")
async def test_fetched_key_that_no_header_can_hold_is_not_quoted() -> None:
    with pytest.raises(ConfigurationError, match="Authorization") as caught:
        await opened(partial(fetch, f"{KEY}ж"), no_connect)
    assert KEY not in "".join(traceback.format_exception(caught.value))
