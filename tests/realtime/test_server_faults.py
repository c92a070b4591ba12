"""Our own client against the local server's faults: it goes on, or says why not."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import model_of, realtime_stage
from trialogue.errors import ConnectionLost, ResponseFailed, ServerError
from trialogue.realtime.backoff import Backoff
from trialogue.realtime.opening import open_session
from trialogue.testing import (
    Network,
    RealtimeServer,
    Say,
    close,
    expire,
    fail_response,
    garbage,
    half_open,
    mixture,
    quota,
    slow_accept,
    stall,
)

if TYPE_CHECKING:
    from trio.testing import MockClock


def short(turn: Any) -> Any:
    return Say("Hello there.", ms=400)


async def ask(session: Any) -> str:
    """Ask for a reply, again if the connection was lost meanwhile."""
    for _ in range(4):
        reply = await session.generate_reply()
        if reply.outcome != "lost":
            return str(reply.outcome)
    return "lost"


FATAL = [
    pytest.param(fault, id=name)
    for name, fault in {
        "half-open before a request": half_open(before="response.create"),
        "half-open after a request": half_open(after="response.create"),
        "half-open in a reply": half_open(after="response.output_audio.delta"),
        "half-open at an age": half_open(at=0.01),
        "stalled writes": stall(after="response.created", side="writes"),
        "stalled both": stall(after="response.created", side="both"),
        "close in a message": close(
            1011, before="response.output_audio.delta", after_bytes=30
        ),
        "expiry at a request": expire(before="response.create"),
        "expiry in a reply": expire(after="response.output_audio.delta"),
        "garbage utf8": garbage("utf8", after="response.created"),
        "garbage opcode": garbage("opcode", after="response.created"),
        "garbage rsv": garbage("rsv", after="response.created"),
        "garbage masked": garbage("masked", after="response.created"),
        "garbage continuation": garbage("continuation", after="response.created"),
        "garbage ping": garbage("ping", after="response.created"),
        "garbage truncated": garbage("truncated", after="response.created"),
        "garbage oversized": garbage("oversized", after="response.created"),
    }.items()
]


@pytest.mark.parametrize("fault", FATAL)
async def test_another_connection_takes_over(
    autojump_clock: MockClock, fault: Any
) -> None:
    """In time, with the conversation and the instructions, and without a word lost."""
    async with realtime_stage(
        short, server={"faults": [fault]}, instructions="You are Kelly."
    ) as (server, session):
        with trio.fail_after(120):
            await session.update_chat_ctx(session.chat_ctx.add_message("user", "Hi."))
            assert await ask(session) == "completed"
        assert len(server.connections) == 2
        last = server.connections[-1]
        assert last.machine.session.instructions == "You are Kelly."
        assert server.protocol_errors == []
        assert session.failure is None


@pytest.mark.parametrize(
    "fault",
    [
        stall(after="response.created", side="writes", seconds=1.5),
        stall(after="response.create", side="both", seconds=1.5),
        garbage("json", after="response.created"),
        garbage("array", before="response.create"),
    ],
)
async def test_what_passes_costs_no_connection(
    autojump_clock: MockClock, fault: Any
) -> None:
    async with realtime_stage(short, server={"faults": [fault]}) as (server, session):
        with trio.fail_after(60):
            outcomes = [await ask(session), await ask(session)]
        assert outcomes[-1] == "completed"
        assert len(server.connections) == 1


async def test_response_that_fails_is_an_error_of_its_own(
    autojump_clock: MockClock,
) -> None:
    faults = [fail_response(code="rate_limit_exceeded")]
    async with realtime_stage(short, server={"faults": faults}) as (_, session):
        with pytest.raises(ResponseFailed) as raised:
            await session.generate_reply()
        assert raised.value.code == "rate_limit_exceeded"
        assert await ask(session) == "completed"


async def test_slow_answer_to_the_upgrade_is_waited_for_in_bounds(
    autojump_clock: MockClock,
) -> None:
    """As long as `Timing.connect` says; then it is dialled again."""
    faults = [slow_accept(8), slow_accept(30)]
    async with RealtimeServer(short, faults=faults).serving() as server:
        async with open_session(model_of(server)) as session:
            assert trio.current_time() == pytest.approx(8)
            assert await ask(session) == "completed"
        begin = trio.current_time()
        async with open_session(model_of(server)) as session:
            assert trio.current_time() - begin == pytest.approx(10)
            assert await ask(session) == "completed"


async def test_server_that_never_gets_through_an_upgrade_is_given_up(
    autojump_clock: MockClock,
) -> None:
    faults = [slow_accept(1000, 100)]
    async with RealtimeServer(short, faults=faults).serving() as server:
        begin = trio.current_time()
        with pytest.raises(ConnectionLost):
            async with open_session(model_of(server), backoff=Backoff(attempts=3)):
                pass
        assert trio.current_time() - begin < 60


@pytest.mark.parametrize("on", ["response", "request"])
async def test_without_quota_the_session_ends_as_such(
    autojump_clock: MockClock, on: Any
) -> None:
    async def talk() -> None:
        server = RealtimeServer(short, faults=[quota(on=on, nth=2)])
        async with server.serving(), open_session(model_of(server)) as session:
            assert await ask(session) == "completed"
            await session.generate_reply()
            await trio.sleep(30)

    with trio.fail_after(20), pytest.raises(ServerError) as raised:
        await talk()
    assert raised.value.code == "insufficient_quota"
    assert not raised.value.recoverable


@pytest.mark.parametrize("seed", range(12))
async def test_session_comes_through_a_random_mixture(
    autojump_clock: MockClock, seed: int
) -> None:
    """Each reply ends, and once nothing goes wrong any more it is the whole of it."""
    rates: dict[str, float] = dict.fromkeys(
        (
            *("drop", "late", "hold", "duplicate", "reject", "garbage", "close"),
            *("expire", "cut", "silence", "stall", "half_open"),
        ),
        0.008,
    )
    connecting = dict.fromkeys(
        ("refuse_connect", "refuse_upgrade", "silent_connect", "slow_accept"), 0.1
    )
    faults = [mixture(seed, connections=3, **rates, **connecting)]  # type: ignore[arg-type]
    options = {"faults": faults, "network": Network(0.02, jitter=0.02), "seed": seed}
    backoff = Backoff(first_attempts=6)
    async with realtime_stage(short, server=options, backoff=backoff) as (_, session):
        with trio.fail_after(1200):
            for _ in range(5):
                with suppress(ServerError):  # it was rejected
                    await session.generate_reply()
            # The connections that are hit are used up by now, or do not live for ever.
            while await ask(session) != "completed":
                pass
        assert session.failure is None
