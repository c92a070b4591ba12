"""Asking what went over the wire, and demands that show it when they fail."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from by_hand import dialled
from stage import realtime_stage
from trialogue.testing import (
    Fail,
    LogEntry,
    RecordedConnection,
    Say,
    Settings,
    WireTrace,
    in_virtual_time,
    lose,
    open_realtime_server,
    reject,
    swallow,
)


def trace_of(*frames: tuple[str, str, dict[str, Any]], note: str = "") -> WireTrace:
    """A trace of (direction, type, fields), a second apart."""
    entries = tuple(
        LogEntry(float(at), way, {"type": kind, "event_id": f"e{at}", **fields}, note)  # type: ignore[arg-type]
        for at, (way, kind, fields) in enumerate(frames)
    )
    return WireTrace(RecordedConnection(0, entries))


UPDATE = ("in", "session.update", {"session": {"instructions": "Be brief."}})
UPDATED = ("out", "session.updated", {"session": {"instructions": "Be brief."}})
CREATE = ("in", "conversation.item.create", {"item": {"id": "a", "role": "user"}})
ADDED = ("out", "conversation.item.added", {"item": {"id": "a"}})


@in_virtual_time
async def test_a_conversation_can_be_asked_about() -> None:
    async with realtime_stage(lambda turn: Say("Hello."), instructions="X") as (
        server,
        session,
    ):
        trace = WireTrace(server)
        await session.send_message("Hi.")
        async with session.open_reply() as reply:
            await reply.outcome()

    (sent,) = trace.sent("conversation.item.create", item={"role": "user"})
    assert sent.event["item"]["content"][0]["text"] == "Hi."
    assert not trace.sent("conversation.item.create", item={"role": "system"})
    assert trace.received("session.updated", session={"instructions": "X"})
    assert [entry.type for entry in trace.sent()] == [
        "session.update",
        "conversation.item.create",
        "response.create",
    ]
    trace.assert_no_error()
    trace.assert_acknowledged()
    trace.assert_order("session.created", "response.create", "response.done")
    trace.assert_sent("response.create", times=1)
    trace.assert_not_sent("response.cancel")
    trace.assert_received("response.done", response={"status": "completed"})


def test_a_failed_demand_shows_what_went_over_the_wire() -> None:
    trace = trace_of(UPDATE, UPDATED, ("in", "input_audio_buffer.append", {}), CREATE)

    with pytest.raises(AssertionError) as failed:
        trace.assert_sent("session.update", times=2, session={"instructions": "X"})
    assert str(failed.value).splitlines() == [
        'session.update with {"session":{"instructions":"X"}} was to be sent 2 times, '
        "and was not at all",
        "what went over the wire:",
        '  > session.update {"session":{"instructions":"Be brief."}}',
        '  < session.updated {"session":{"instructions":"Be brief."}}',
        '  > conversation.item.create {"item":{"id":"a","role":"user"}}',
    ]


@pytest.mark.parametrize(
    ("demand", "what"),
    [
        (lambda t: t.assert_sent("response.create"), "at least once"),
        (lambda t: t.assert_not_sent("session.update"), "to be sent not at all"),
        (lambda t: t.assert_received("error"), "error was to be received"),
        (lambda t: t.assert_order("session.updated", "session.update"), "behind"),
        (lambda t: t.assert_order("response.done"), "there is no response.done"),
        (
            lambda t: t.assert_acknowledged(),
            "conversation.item.create has no conversation.item.added",
        ),
    ],
)
def test_each_demand_can_fail(demand: Any, what: str) -> None:
    with pytest.raises(AssertionError, match=what):
        demand(trace_of(UPDATE, UPDATED, CREATE))


def test_an_order_is_of_frames_behind_one_another() -> None:
    trace = trace_of(UPDATE, UPDATED, UPDATE)

    trace.assert_order("session.update", "session.updated", "session.update")
    with pytest.raises(AssertionError, match=r"no session\.update behind"):
        trace.assert_order("session.update", "session.update", "session.update")


def test_items_are_acknowledged_by_their_ids() -> None:
    other = ("in", "conversation.item.create", {"item": {"id": "b"}})

    trace_of(CREATE, other, ADDED).assert_acknowledged("session.update")
    with pytest.raises(AssertionError, match='"id":"b"'):
        trace_of(CREATE, other, ADDED, ADDED).assert_acknowledged()


def test_updates_are_acknowledged_by_their_number() -> None:
    trace_of(UPDATE, UPDATE, UPDATED, UPDATED).assert_acknowledged()
    with pytest.raises(AssertionError, match=r"session\.update has no"):
        trace_of(UPDATE, UPDATE, UPDATED).assert_acknowledged("session.update")


def test_what_has_no_answer_of_its_own_is_not_asked_for() -> None:
    with pytest.raises(ValueError, match=r"response\.cancel has no answer of its own"):
        trace_of(UPDATE).assert_acknowledged("response.cancel")


@in_virtual_time
async def test_what_a_fault_withheld_was_not_received() -> None:
    async with realtime_stage(
        server={"faults": [swallow("conversation.item.added")]}
    ) as (server, session):
        with trio.move_on_after(1):
            await session.send_message("Hi.")
        trace = WireTrace(server.connections[0])

        assert trace.sent("conversation.item.create")
        assert not trace.received("conversation.item.added")
        with pytest.raises(AssertionError, match=r"no conversation\.item\.added"):
            trace.assert_acknowledged()
        assert "conversation.item.added [drop]" in str(trace)


@in_virtual_time
async def test_what_a_fault_lost_was_sent_all_the_same() -> None:
    async with realtime_stage(server={"faults": [lose("session.update")]}) as (
        server,
        _session,
    ):
        await trio.sleep(10)
        trace = WireTrace(server)

    assert len(server.connections) == 2
    assert len(trace.sent("session.update")) == 2
    assert str(trace).count("[0] >") == str(trace).count("[1] >") == 1
    with pytest.raises(AssertionError, match=r"session\.update has no"):
        trace.assert_acknowledged()


@in_virtual_time
async def test_errors_and_failed_responses_are_no_secret() -> None:
    async with realtime_stage(
        lambda turn: Fail("server_error"),
        server={"faults": [reject("conversation.item.create", message="Not now.")]},
    ) as (server, session):
        await session.send_message("Hi.")
        with pytest.raises(AssertionError, match="an error: Not now"):
            WireTrace(server).assert_no_error()

    async with realtime_stage(lambda turn: Fail("server_error")) as (server, session):
        async with session.open_reply() as reply:
            with pytest.raises(Exception, match="server"):
                await reply.outcome()
        with pytest.raises(AssertionError, match="a response failed"):
            WireTrace(server).assert_no_error()


def test_only_the_end_of_a_long_trace_is_shown() -> None:
    shown = str(trace_of(*[UPDATE] * 100)).splitlines()
    assert shown[0] == "  … 40 lines before"
    assert len(shown) == 61


def test_no_key_is_shown() -> None:
    key = "sk-sentinel0123456789abcdef"
    assert key not in str(trace_of(("in", "session.update", {"session": key})))


@in_virtual_time
async def test_a_server_of_the_beta_can_be_asked_as_well() -> None:
    """Its items are `created`, and its sound has another name."""
    settings = Settings(dialect="beta", oddities=False)
    async with open_realtime_server(settings=settings) as server:
        trace = WireTrace(server)
        async with dialled(server) as client:
            content = [{"type": "input_text", "text": "Hi."}]
            item = {"id": "a", "type": "message", "role": "user", "content": content}
            await client.send("conversation.item.create", item=item)
            await client.send("response.create")
            await client.until("response.done")
        trace.assert_acknowledged()
        assert trace.received("response.audio.delta")
        assert "response.audio.delta" not in str(trace)


def test_an_answer_is_found_where_nobody_named_the_item() -> None:
    """Clients need not make ids up, and xAI does not say which item is deleted."""
    typed = {"type": "message", "role": "user"}
    spoken = {"type": "message", "role": "assistant"}
    create = ("in", "conversation.item.create", {"item": typed})
    said = ("out", "conversation.item.added", {"item": {**spoken, "id": "s1"}})
    added = ("out", "conversation.item.added", {"item": {**typed, "id": "s2"}})
    trace_of(create, said, added).assert_acknowledged()
    for frames in ((create, said), (create, create, said, added)):
        with pytest.raises(AssertionError, match=r"create has no conversation"):
            trace_of(*frames).assert_acknowledged()
    delete = ("in", "conversation.item.delete", {"item_id": "a"})
    deleted = ("out", "conversation.item.deleted", {"item_id": ""})
    trace_of(delete, deleted).assert_acknowledged()
    with pytest.raises(AssertionError, match=r"delete has no conversation"):
        trace_of(delete, delete, deleted).assert_acknowledged()
