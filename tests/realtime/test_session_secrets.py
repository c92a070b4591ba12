"""The key of a session is in nothing that a program would print, log or report."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest
import trio

from stage import collecting
from trialogue import OpenAIRealtime, TrialogueError
from trialogue.realtime.opening import open_session
from trialogue.testing import Fault, RealtimeServer, Say, close, reject

KEY = "sk-proj-0123456789abcdef"
QUOTED = f"Incorrect API key provided: {KEY}. You can find yours on your account page."


def short(turn: Any) -> Any:
    return Say("Hello there.", ms=200)


async def _converse(server: RealtimeServer, shown: list[object]) -> None:
    """Talk for a minute, or until the session fails; note all that may be printed."""
    url = f"ws://localhost/v1/realtime?api-key={KEY}"
    model = OpenAIRealtime(api_key=KEY, base_url=url, connect=server.connect)
    async with open_session(model) as session, collecting(session) as events:
        shown += [model, session, session.connection, session.wanted, events]
        await session.generate_reply()
        await session.generate_reply()
        await trio.sleep(60)


@pytest.mark.behaviour("X1")
@pytest.mark.parametrize(
    "fault",
    [
        reject("response.create", nth=2, code="invalid_api_key", message=QUOTED),
        reject("response.create", nth=2, code="invalid_value", message=QUOTED),
        reject("response.create", code="a_new_code", message=QUOTED, null_id=True),
        close(3000, reason=QUOTED, before="session.created"),
        close(1008, reason=QUOTED, before="response.created", nth=2),
        close(1008, reason=QUOTED, before="response.created", nth=None),
    ],
    ids=["fatal", "rejected", "nameless", "refused", "closed", "closed for good"],
)
async def test_a_key_that_the_provider_quotes_is_shown_to_nobody(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    fault: Fault,
) -> None:
    """Not in a log of any level, an event, a repr, or the traceback of a failure."""
    caplog.set_level(logging.DEBUG)
    shown: list[object] = []
    server = RealtimeServer(short, faults=[fault])
    with trio.fail_after(300):
        async with server.serving():
            try:
                await _converse(server, shown)
            except* TrialogueError as failure:
                shown += traceback.format_exception(failure)
                shown += [(error, vars(error)) for error in failure.exceptions]
    quoted = [entry for one in server.connections for entry in one.entries]
    assert KEY in f"{quoted!r} {[one.close_reason for one in server.connections]!r}"
    text = f"{shown!r} {caplog.text}"
    assert KEY not in text
    assert KEY[-8:] not in text
