"""A fresh connection is given a call and its output, whatever becomes of the call."""

from __future__ import annotations

import pytest
import trio

from stage import model_of
from trialogue import (
    ChatContext,
    FunctionCall,
    FunctionCallOutput,
    Message,
    TextContent,
    open_session,
)
from trialogue.testing import Fault, Network, RealtimeServer, cut, late, lose, reject

CREATE = "conversation.item.create"
TALK = ChatContext(
    (
        Message("m1", "user", (TextContent("What is there?"),)),
        FunctionCall("c1", "call_1", "look", "{}"),
        FunctionCallOutput("o1", "call_1", "a tree"),
        Message("m2", "user", (TextContent("Thanks."),)),
    )
)


@pytest.mark.parametrize(
    "fault",
    [
        lose(CREATE, nth=2),
        late(CREATE, seconds=0.05, nth=2),
        late(CREATE, seconds=0.3, nth=2),
        late(CREATE, seconds=2.0, nth=2),
        lose(CREATE, nth=3),
        reject(CREATE, nth=2),
    ],
    ids=["call lost", "late", "later", "latest", "output lost", "call refused"],
)
async def test_a_call_that_comes_too_late_has_its_output_behind_it(
    autojump_clock: trio.testing.MockClock, fault: Fault
) -> None:
    """The output is refused for want of the call, and sent again behind it."""
    network = Network(one_way=0.01)
    async with (
        RealtimeServer(network=network, faults=[fault]).serving() as server,
        open_session(model_of(server), chat_ctx=TALK, seed=1) as session,
    ):
        await trio.sleep(60)
        ours = [item.id for item in session.chat_ctx]
        theirs = [held.id for held in server.live[-1].conversation]

    assert theirs == ours
    assert sorted(ours) == ["c1", "m1", "m2", "o1"]
    assert ours.index("c1") + 1 == ours.index("o1")


@pytest.mark.parametrize("answers", [1, 2], ids=["the call", "its output"])
async def test_a_call_that_is_refused_for_good_leaves_with_its_output(
    autojump_clock: trio.testing.MockClock, answers: int
) -> None:
    """Also where the connection ends before the output is refused once more."""
    refused = reject(CREATE, nth=2, code="invalid_value")
    faults = [refused, cut(after="error", nth=answers)]
    async with (
        RealtimeServer(
            network=Network(one_way=0.01), faults=faults
        ).serving() as server,
        open_session(model_of(server), chat_ctx=TALK, seed=1) as session,
    ):
        await trio.sleep(60)
        ours = [item.id for item in session.chat_ctx]
        theirs = [held.id for held in server.live[-1].conversation]

    assert len(server.connections) == 2
    assert ours == theirs == ["m1", "m2"]
