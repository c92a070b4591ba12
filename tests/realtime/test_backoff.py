"""The pauses between attempts to reach a server that was lost."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import until
from trialogue import OpenAIRealtime
from trialogue.realtime.backoff import Backoff
from trialogue.realtime.opening import open_session
from trialogue.testing import RealtimeServer, Say, cut, refuse_connect

if TYPE_CHECKING:
    from trialogue.testing.faults import ConnectFault, Fault


def short(turn: Any) -> Any:
    return Say("Hello there.", ms=200)


@pytest.mark.behaviour("C2")
async def test_a_lost_server_is_dialled_at_once_and_then_ever_more_patiently(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Five attempts fail, each after a longer pause; then the conversation goes on."""
    dialled: list[float] = []
    faults: list[Fault | ConnectFault] = [
        cut(before="response.created"),
        refuse_connect(5, skip=1),
    ]
    async with RealtimeServer(short, faults=faults).serving() as server:

        async def connect() -> trio.abc.Stream:
            dialled.append(trio.current_time())
            assert len(dialled) < 20
            return await server.connect()

        url = "ws://localhost/v1/realtime"
        model = OpenAIRealtime(api_key="sk-test-key", base_url=url, connect=connect)
        backoff = Backoff(attempts=8, base=1.0, factor=2.0, ceiling=5.0)
        async with open_session(model, backoff=backoff) as session:
            await until(lambda: session.settled)
            lost_at = trio.current_time()
            with trio.fail_after(60):
                assert (await session.generate_reply()).outcome == "completed"
        pauses = [after - before for before, after in pairwise(dialled[1:])]
    assert dialled[1] - lost_at < 0.1
    assert len(pauses) == 5
    for pause, most in zip(pauses, (1.0, 2.0, 4.0, 5.0, 5.0), strict=True):
        assert most / 2 <= pause <= most + 0.1


@pytest.mark.behaviour("C2")
@pytest.mark.parametrize("outage", [3.0, 5.5])
@pytest.mark.parametrize("seed", range(8))
async def test_an_outage_of_seconds_is_outlasted_and_its_end_is_soon_found(
    autojump_clock: trio.testing.MockClock, seed: int, outage: float
) -> None:
    """With what is given by default: a caller on the line does not wait for long."""
    until_then = -1.0
    server = RealtimeServer(short, faults=[cut(before="response.created")])
    async with server.serving():

        async def connect() -> trio.abc.Stream:
            if trio.current_time() < until_then:
                raise ConnectionRefusedError("nobody listens")
            return await server.connect()

        url = "ws://localhost/v1/realtime"
        model = OpenAIRealtime(api_key="sk-test-key", base_url=url, connect=connect)
        async with open_session(model, seed=seed) as session:
            await until(lambda: session.settled)
            until_then = trio.current_time() + outage
            assert (await session.generate_reply()).outcome == "completed"
            late = server.connections[-1].opened - until_then
    assert 0 <= late <= 1.0
