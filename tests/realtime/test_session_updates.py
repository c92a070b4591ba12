"""Updates of a session without agents: every request has its outcome, none lingers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import collecting, model_of, realtime_stage, until
from trialogue.conversation.items import Message, OpaqueItem, TextContent
from trialogue.dialects.options import ServerVAD, SessionOptions
from trialogue.errors import (
    ConversionError,
    ServerError,
    SessionClosed,
    SessionUpdateError,
)
from trialogue.realtime.notices import ErrorNotice, ItemChanged
from trialogue.realtime.opening import open_session
from trialogue.realtime.requests import RequestState, UpdateReport
from trialogue.testing import (
    Network,
    RealtimeServer,
    cut,
    late,
    lose,
    refuse_connect,
    reject,
    swallow,
)
from trialogue.testing.scheduling import CancelAtStep
from trialogue.tools.spec import ToolSpec

if TYPE_CHECKING:
    from trialogue.conversation.context import ChatContext
    from trialogue.realtime.session import RealtimeSession

HOUR = 3600.0
REJECTED, ACKNOWLEDGED = RequestState.REJECTED, RequestState.ACKNOWLEDGED
UNANSWERED, NOT_SENT = RequestState.UNANSWERED, RequestState.NOT_SENT
LOOKUP = ToolSpec("lookup", "Look it up.", {"type": "object", "properties": {}})


def note(item_id: str, text: str = "A note.") -> Message:
    return Message(item_id, "user", (TextContent(text),))


def with_notes(context: ChatContext, *ids: str) -> ChatContext:
    for item_id in ids:
        context = context.insert(note(item_id, f"Note {item_id}."))
    return context


def in_front(context: ChatContext, *ids: str) -> ChatContext:
    """Put notes in front of everything, so that each is anchored on the one before."""
    after = "root"
    for item_id in ids:
        context = context.insert(note(item_id), after)
        after = item_id
    return context


def held(server: RealtimeServer, connection: int = -1) -> list[str]:
    return [item.id for item in server.connections[connection].conversation]


def outcomes(report: UpdateReport) -> dict[str | None, RequestState]:
    return {request.item_id: request.state for request in report.requests}


def sent(server: RealtimeServer, kind: str | None = None) -> list[Any]:
    entries = server.connections[-1].entries
    return [e for e in entries if e.direction == "in" and kind in (None, e.type)]


async def settle(session: RealtimeSession) -> None:
    await until(lambda: session.settled and not session.open_work["owed"])


async def seeded_with(session: RealtimeSession, *ids: str) -> None:
    """Put notes in the conversation that the server holds."""
    report = await session.update_chat_ctx(with_notes(session.chat_ctx, *ids))
    assert report.ok


# --- rejections ----------------------------------------------------------------------


@pytest.mark.behaviour("S5")
@pytest.mark.parametrize("null_id", [False, True])
@pytest.mark.parametrize("kind", ["create", "delete"])
async def test_a_rejected_item_operation_releases_its_waiter_at_once_with_the_code(
    autojump_clock: trio.testing.MockClock, kind: str, null_id: bool
) -> None:
    """One round trip after the request, not at the end of its hour of patience."""
    async with realtime_stage(server={"network": Network(one_way=0.05)}) as stage:
        server, session = stage
        await seeded_with(session, "item_a", "item_b")
        server.inject(
            reject(
                f"conversation.item.{kind}",
                code="server_error",
                message="Something is wrong with item with id 'item_x'.".replace(
                    "item_x", "item_c" if kind == "create" else "item_b"
                ),
                null_id=null_id,
            )
        )
        edited = session.chat_ctx
        edited = (
            with_notes(edited, "item_c")
            if kind == "create"
            else edited.remove("item_b")
        )
        began = trio.current_time()
        with trio.fail_after(5):
            report = await session.update_chat_ctx(edited, ack_timeout=HOUR)
        assert trio.current_time() - began == pytest.approx(0.1, abs=0.02)
        [request] = report.requests
        assert request.state is REJECTED
        assert request.code == "server_error"
        assert not report.ok
        with pytest.raises(SessionUpdateError) as caught:
            report.raise_for_failures()
        assert caught.value.report is report
        # The record stands as the server does: not created, or still there.
        assert session.chat_ctx.ids == ("item_a", "item_b")
        assert held(server) == ["item_a", "item_b"]
        assert session.open_work["owed"] == 0


@pytest.mark.behaviour("S5")
@pytest.mark.parametrize("kind", ["create", "delete"])
async def test_a_rejection_that_names_neither_event_nor_item_releases_its_waiter(
    autojump_clock: trio.testing.MockClock, kind: str
) -> None:
    """With nothing but a parameter to go by, the only item operation is meant."""
    async with realtime_stage() as (server, session):
        await seeded_with(session, "item_a")
        server.inject(
            reject(
                f"conversation.item.{kind}",
                code="item_create_failed" if kind == "create" else "item_delete_failed",
                message="Invalid value: it cannot be done.",
                null_id=True,
            )
        )
        edited = session.chat_ctx
        edited = (
            with_notes(edited, "item_c")
            if kind == "create"
            else edited.remove("item_a")
        )
        began = trio.current_time()
        with trio.fail_after(30):
            report = await session.update_chat_ctx(edited, ack_timeout=20)
        assert trio.current_time() - began < 16
        assert not report.ok


@pytest.mark.behaviour("S6")
async def test_what_comes_after_the_outcome_changes_the_record_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Unanswered for its waiter; the item's arrival later does not rewrite that."""
    faults = [late("conversation.item.added", seconds=3.0)]
    async with realtime_stage(server={"faults": faults}) as (server, session):
        async with collecting(session) as events:
            faults_done = late("conversation.item.done", seconds=3.0)
            server.inject(faults_done)
            report = await session.update_chat_ctx(
                with_notes(session.chat_ctx, "item_a"), ack_timeout=1.0
            )
            assert outcomes(report) == {"item_a": UNANSWERED}
            before = len(events)
            await until(lambda: not session.open_work["owed"])
            await trio.sleep(5)
            assert outcomes(report) == {"item_a": UNANSWERED}
            assert session.chat_ctx.ids == ("item_a",)
            assert all(isinstance(e, ItemChanged) for e in events[before:])
        assert len(server.connections) == 1


@pytest.mark.behaviour("S7", "S6")
async def test_an_error_after_its_update_has_ended_is_published(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The waiter has left; its rejection reaches the subscribers, with the code."""
    async with realtime_stage() as (server, session), collecting(session) as events:
        await settle(session)
        server.inject(
            reject("conversation.item.create", code="server_error"),
            late("error", seconds=2.0),
        )
        report = await session.update_chat_ctx(
            with_notes(session.chat_ctx, "item_a"), ack_timeout=1.0
        )
        assert outcomes(report) == {"item_a": UNANSWERED}
        assert not [e for e in events if isinstance(e, ErrorNotice)]
        await until(lambda: [e for e in events if isinstance(e, ErrorNotice)], 5)
        [notice] = [e for e in events if isinstance(e, ErrorNotice)]
        assert notice.code == "server_error"
        assert outcomes(report) == {"item_a": UNANSWERED}
        assert session.open_work["owed"] == 0


@pytest.mark.behaviour("S8")
@pytest.mark.parametrize("null_id", [False, True])
async def test_a_rejected_delete_leaves_the_create_of_the_replacement_waiting(
    autojump_clock: trio.testing.MockClock, null_id: bool
) -> None:
    """A replaced item is a delete and a create; each has its own answer."""
    async with realtime_stage() as (server, session):
        await seeded_with(session, "item_a", "item_b")
        server.inject(
            reject(
                "conversation.item.delete",
                message="It cannot be done: item with id 'item_a' is in use.",
                null_id=null_id,
            ),
            late("conversation.item.added", seconds=1.0),
            late("conversation.item.done", seconds=1.0),
        )
        edited = session.chat_ctx.remove("item_a").insert(note("item_c"), "root")
        began = trio.current_time()
        with trio.fail_after(10):
            report = await session.update_chat_ctx(edited)
        assert trio.current_time() - began == pytest.approx(1.0, abs=0.1)
        assert outcomes(report) == {"item_a": REJECTED, "item_c": ACKNOWLEDGED}
        assert set(held(server)) == {"item_a", "item_b", "item_c"}


@pytest.mark.behaviour("S8")
async def test_an_item_replaced_under_its_own_id_has_two_outcomes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The delete's rejection is the delete's alone; the create has its own."""
    async with realtime_stage() as (server, session):
        await seeded_with(session, "item_a")
        server.inject(reject("conversation.item.delete", code="server_error"))
        edited = session.chat_ctx.replace(note("item_a", "Other words."))
        with trio.fail_after(10):
            report = await session.update_chat_ctx(edited, ack_timeout=HOUR)
        assert [(r.kind, r.state, r.code) for r in report.requests] == [
            ("DeleteItem", REJECTED, "server_error"),
            ("CreateItem", REJECTED, "item_create_duplicate_item_id"),
        ]
        # The old words stand, here as there.
        [item] = session.chat_ctx.items
        assert isinstance(item, Message)
        assert item.text == "Note item_a."
        assert session.open_work["owed"] == 0


@pytest.mark.behaviour("S9", "R4")
@pytest.mark.parametrize(
    "code", ["insufficient_quota", "invalid_api_key", "account_deactivated"]
)
async def test_a_fatal_code_on_an_item_fails_the_waiter_and_ends_the_session(
    autojump_clock: trio.testing.MockClock, code: str
) -> None:
    """Its report holds the code; the block raises it, and nothing dials again."""
    faults = [reject("conversation.item.create", code=code)]
    server = RealtimeServer(faults=faults)
    reports: list[UpdateReport] = []
    async with server.serving():
        with trio.fail_after(10), pytest.raises(ServerError) as caught:  # noqa: PT012
            async with open_session(model_of(server)) as session:
                reports.append(
                    await session.update_chat_ctx(
                        with_notes(session.chat_ctx, "item_a"), ack_timeout=HOUR
                    )
                )
                with pytest.raises(SessionClosed):
                    session.push_audio(bytes(960))
                await trio.sleep_forever()  # cancelled: the session is over
        assert caught.value.code == code
        assert not caught.value.recoverable
        [request] = reports[0].requests
        assert (request.state, request.code) == (REJECTED, code)
        await trio.sleep(60)
        assert server.dials == 1


# --- late, lost and repeated ---------------------------------------------------------


@pytest.mark.behaviour("S11")
async def test_a_late_acknowledgement_raises_nothing_and_leaves_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """After its waiter's time the item is confirmed: record and server agree."""
    faults = [
        late("conversation.item.added", seconds=4.0),
        late("conversation.item.done", seconds=4.0),
    ]
    async with realtime_stage(server={"faults": faults}) as (server, session):
        async with collecting(session) as events:
            report = await session.update_chat_ctx(
                with_notes(session.chat_ctx, "item_a"), ack_timeout=2.0
            )
            assert outcomes(report) == {"item_a": UNANSWERED}
            assert session.open_work["owed"] == 1  # the server still owes the answer
            await until(lambda: session.open_work["owed"] == 0, 5)
            assert session.chat_ctx.ids == ("item_a",) == tuple(held(server))
            again = await session.update_chat_ctx(session.chat_ctx)
            assert again.requests == ()
        assert not [e for e in events if isinstance(e, ErrorNotice)]
        assert len(server.connections) == 1
        assert server.protocol_errors == []


@pytest.mark.behaviour("S11")
async def test_a_late_configuration_answer_is_not_taken_for_the_next_ones(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A's late answer comes while B is waited for: it answers A, and B its own."""
    async with realtime_stage() as (server, session):
        await settle(session)
        server.inject(late("session.updated", seconds=2.0))
        first = await session.update_instructions("You are A.", ack_timeout=1.0)
        assert [r.state for r in first.requests] == [UNANSWERED]
        server.inject(late("session.updated", seconds=3.0))
        began = trio.current_time()
        second = await session.update_instructions("You are B.", ack_timeout=10.0)
        assert second.ok
        assert trio.current_time() - began > 2.5
        assert session.open_work["owed"] == 0
        assert len(server.connections) == 1


@pytest.mark.behaviour("S12")
async def test_sending_an_item_again_before_its_late_answer_counts_as_success(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The server refuses the second as a duplicate: the item is there, as asked."""
    async with realtime_stage() as (server, session):
        await settle(session)
        server.inject(
            late("conversation.item.added", seconds=8.0),
            late("conversation.item.done", seconds=8.0),
        )
        async with collecting(session) as events:
            base = session.chat_ctx
            first = await session.update_chat_ctx(
                with_notes(base, "item_a"), ack_timeout=0.5
            )
            assert outcomes(first) == {"item_a": UNANSWERED}
            # The program believes that the item is missing, and adds it once more.
            requests = session.add_items([note("item_a", "Note item_a.")])
            with trio.fail_after(5):
                await requests[0].settled.wait()
            assert requests[0].state is ACKNOWLEDGED
            await until(lambda: session.open_work["owed"] == 0, 20)
            assert session.chat_ctx.ids == ("item_a",) == tuple(held(server))
            assert not [e for e in events if isinstance(e, ErrorNotice)]


# --- each item for itself ------------------------------------------------------------


@pytest.mark.behaviour("S16")
@pytest.mark.parametrize("null_id", [False, True])
async def test_a_rejected_item_does_not_take_its_followers_with_it(
    autojump_clock: trio.testing.MockClock, null_id: bool
) -> None:
    """The server refuses b; c and d, which follow it, are put behind a instead."""
    faults = [
        reject(
            "conversation.item.create",
            code="invalid_value",
            message="Invalid value: the item with id 'item_b' is not allowed.",
            null_id=null_id,
            match=lambda e: e.get("item", {}).get("id") == "item_b",
        )
    ]
    async with realtime_stage(server={"faults": faults}) as (server, session):
        await seeded_with(session, "item_y", "item_z")
        edited = in_front(session.chat_ctx, "item_a", "item_b", "item_c", "item_d")
        with trio.fail_after(10):
            report = await session.update_chat_ctx(edited)
        assert outcomes(report) == {
            "item_a": ACKNOWLEDGED,
            "item_b": REJECTED,
            "item_c": ACKNOWLEDGED,
            "item_d": ACKNOWLEDGED,
        }
        assert held(server) == ["item_a", "item_c", "item_d", "item_y", "item_z"]
        assert list(session.chat_ctx.ids) == held(server)
        await until(lambda: session.open_work["owed"] == 0)


@pytest.mark.behaviour("S16")
async def test_several_rejected_items_are_reported_one_by_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """First, middle and last are refused; what stood between them stays in order."""
    bad = {"item_a", "item_c", "item_f"}
    faults = [
        reject(
            "conversation.item.create",
            code="invalid_value",
            nth=None,
            match=lambda e: e.get("item", {}).get("id") in bad,
        )
    ]
    async with realtime_stage(server={"faults": faults}) as (server, session):
        await seeded_with(session, "item_z")
        ids = [f"item_{letter}" for letter in "abcdef"]
        with trio.fail_after(10):
            report = await session.update_chat_ctx(in_front(session.chat_ctx, *ids))
        assert outcomes(report) == {
            i: REJECTED if i in bad else ACKNOWLEDGED for i in ids
        }
        assert held(server) == ["item_b", "item_d", "item_e", "item_z"]
        assert list(session.chat_ctx.ids) == held(server)


@pytest.mark.behaviour("S18")
async def test_what_cannot_be_converted_fails_before_anything_is_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Good instructions, good items and one impossible one: none of it leaves."""
    async with realtime_stage() as (server, session):
        await seeded_with(session, "item_a")
        before = sent(server)
        odd = OpaqueItem("item_x", "something_else", {"n": 1})
        edited = with_notes(session.chat_ctx, "item_b").insert(odd).remove("item_a")
        with pytest.raises(ConversionError):
            await session.update_session(instructions="You are B.", chat_ctx=edited)
        await trio.sleep(1)
        assert sent(server) == before
        assert session.chat_ctx.ids == ("item_a",)
        assert session.wanted is not None
        assert session.wanted.instructions == ""
        assert session.open_work["owed"] == 0
        assert (await session.update_instructions("You are C.")).ok


# --- merging -------------------------------------------------------------------------


@pytest.mark.behaviour("S14")
async def test_a_user_turn_that_the_editor_has_not_seen_is_never_deleted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The turn arrives between snapshot and edit; replacing all keeps it."""
    options = SessionOptions(turn_detection=None)
    async with realtime_stage(options=options) as (server, session):
        await seeded_with(session, "item_a", "item_b")
        edited = session.chat_ctx.remove("item_a").remove("item_b")
        session.push_audio(b"\x10\x10" * 12_000)
        assert (await session.commit_audio()).ok
        [turn] = server.connections[0].committed
        report = await session.update_chat_ctx(with_notes(edited, "item_c"))
        assert report.ok
        deleted = [e.event["item_id"] for e in sent(server, "conversation.item.delete")]
        assert deleted == ["item_a", "item_b"]
        assert turn.item_id in held(server)
        assert set(session.chat_ctx.ids) == {turn.item_id, "item_c"}


@pytest.mark.behaviour("S17")
async def test_two_concurrent_edits_both_take_effect(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Both start from one snapshot, both are under way at once; both results stand."""
    network = Network(one_way=0.05)
    async with realtime_stage(server={"network": network}) as (server, session):
        await seeded_with(session, "item_a", "item_b", "item_c")
        base = session.chat_ctx
        one = with_notes(base.remove("item_a"), "item_x")
        two = with_notes(base.remove("item_b"), "item_y")
        reports: list[UpdateReport] = []

        async def edit(context: ChatContext) -> None:
            reports.append(await session.update_chat_ctx(context))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(edit, one)
                nursery.start_soon(edit, two)
        assert all(report.ok for report in reports)
        assert set(held(server)) == {"item_c", "item_x", "item_y"}
        assert list(session.chat_ctx.ids) == held(server)


@pytest.mark.behaviour("S20", "S2")
async def test_syncing_an_unchanged_context_sends_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The snapshot as it is, twice, and an equal configuration: no frame."""
    async with realtime_stage(instructions="You are Kelly.", tools=[LOOKUP]) as stage:
        server, session = stage
        await seeded_with(session, "item_a", "item_b")
        await session.generate_reply()
        await settle(session)
        before = sent(server)
        assert (await session.update_chat_ctx(session.chat_ctx)).requests == ()
        assert (await session.update_chat_ctx(session.chat_ctx.copy())).requests == ()
        report = await session.update_session(
            instructions="You are Kelly.", tools=[LOOKUP], options=SessionOptions()
        )
        assert report.requests == ()
        await trio.sleep(1)
        assert sent(server) == before


# --- instructions, tools and options -------------------------------------------------


@pytest.mark.behaviour("H16")
async def test_an_update_carries_only_what_changed_in_one_frame(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(instructions="You are Kelly.") as (server, session):
        await settle(session)
        report = await session.update_session(
            instructions="You are Sunny.",
            options=SessionOptions(turn_detection=ServerVAD(threshold=0.7)),
            chat_ctx=with_notes(session.chat_ctx, "item_a"),
        )
        assert report.ok
        assert [r.kind for r in report.requests] == ["UpdateSession", "CreateItem"]
        update = sent(server, "session.update")[-1].event["session"]
        assert set(update) == {"type", "instructions", "audio"}
        assert set(update["audio"]["input"]) == {"turn_detection"}


@pytest.mark.behaviour("S5")
@pytest.mark.parametrize("null_id", [False, True])
async def test_a_rejected_configuration_is_reported_and_what_was_agreed_stays(
    autojump_clock: trio.testing.MockClock, null_id: bool
) -> None:
    """At once, with the code; the session goes on as it was, on the same connection."""
    async with realtime_stage(instructions="You are Kelly.") as (server, session):
        await settle(session)
        server.inject(
            reject("session.update", code="unknown_parameter", null_id=null_id)
        )
        with trio.fail_after(1):
            report = await session.update_instructions("Nonsense.", ack_timeout=HOUR)
        [request] = report.requests
        assert (request.state, request.code) == (REJECTED, "unknown_parameter")
        assert session.wanted is not None
        assert session.wanted.instructions == "You are Kelly."
        outcome = await session.generate_reply()
        assert outcome.outcome == "completed"
        assert server.connections[-1].responses[-1].instructions == "You are Kelly."
        assert len(server.connections) == 1


async def test_after_an_unanswered_update_the_next_one_names_what_may_differ(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The first was lost on its way: what it asked for is asked for again."""
    async with realtime_stage(instructions="You are Kelly.") as (server, session):
        await settle(session)
        server.inject(lose("session.update"))
        first = await session.update_instructions("You are Sunny.", ack_timeout=1.0)
        assert [r.state for r in first.requests] == [UNANSWERED]
        with trio.fail_after(60):
            second = await session.update_tools([LOOKUP], ack_timeout=30.0)
            assert second.ok
            await session.generate_reply()
        response = server.connections[-1].responses[-1]
        assert response.instructions == "You are Sunny."
        assert response.tools == ("lookup",)


# --- cancelling at any point ---------------------------------------------------------


def frames_of(server: RealtimeServer, marker: str) -> list[str]:
    """Return the types of the frames that belong to the update under test."""
    return [
        entry.type
        for connection in server.connections
        for entry in connection.entries
        if entry.direction == "in" and marker in str(entry.event)
    ]


@pytest.mark.behaviour("C12", "S11")
async def test_an_update_cancelled_at_any_step_leaves_whole_or_not_at_all(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Cancelled at each of its steps: no tracker, all of the batch or none of it."""
    seen: set[int] = set()
    step = 0
    for step in itertools.count(1):
        network = Network(one_way=0.02)
        async with realtime_stage(server={"network": network}) as (server, session):
            await seeded_with(session, "item_old")
            edited = with_notes(session.chat_ctx.remove("item_old"), "new_1", "new_2")
            with trio.fail_after(30):
                with trio.CancelScope() as scope, CancelAtStep(step, scope) as sweep:
                    await session.update_session(
                        instructions="You are new_0.", chat_ctx=edited
                    )
            await settle(session)
            frames = frames_of(server, "new_")
            seen.add(len(frames))
            assert frames in (
                [],
                ["session.update", *["conversation.item.create"] * 2],
            )
            took = bool(frames)
            assert held(server) == (["new_1", "new_2"] if took else ["item_old"])
            assert list(session.chat_ctx.ids) == held(server)
            # Nothing is in the way of the next one, whichever way it ended.
            again = await session.update_session(
                instructions="You are next.",
                chat_ctx=with_notes(session.chat_ctx, "item_next"),
            )
            assert again.ok
            assert session.open_work["owed"] == 0
            assert held(server)[-1] == "item_next"
            assert server.protocol_errors == []
        if not sweep.fired:
            break
    assert step > 10
    assert 3 in seen


async def test_an_update_without_a_connection_is_not_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """While nothing serves the wait is bounded, and nothing goes out later."""
    async with realtime_stage() as (server, session):
        await settle(session)
        server.inject(cut(before="conversation.item.create"), refuse_connect(3))
        await session.update_chat_ctx(with_notes(session.chat_ctx, "item_a"))
        report = await session.update_instructions("Never.", ack_timeout=0.05)
        assert [r.state for r in report.requests] == [NOT_SENT]
        await settle(session)
        assert "Never." not in str(sent(server))


@pytest.mark.behaviour("S11")
async def test_no_answer_at_all_is_reported_after_the_callers_patience(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Unanswered after `ack_timeout`, to the second; nothing is raised."""
    faults = [
        swallow("conversation.item.added", nth=None),
        swallow("conversation.item.done", nth=None),
    ]
    async with realtime_stage(server={"faults": faults}) as (_, session):
        await until(lambda: session.settled)
        began = trio.current_time()
        report = await session.update_chat_ctx(
            with_notes(session.chat_ctx, "item_a"), ack_timeout=3.0
        )
        assert trio.current_time() - began == pytest.approx(3.0)
        assert outcomes(report) == {"item_a": UNANSWERED}


async def test_ids_and_frames_are_the_same_for_the_same_script_and_seed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Design §9: same script, same seed, same JSON frames of the client."""

    async def script(seed: int) -> list[Any]:
        async with realtime_stage(instructions="You are Kelly.", seed=seed) as stage:
            server, session = stage
            await settle(session)
            await session.update_session(
                instructions="You are Sunny.",
                chat_ctx=with_notes(session.chat_ctx, "item_a", "item_b"),
            )
            await session.generate_reply(instructions="Be short.")
            await session.update_chat_ctx(session.chat_ctx.remove("item_a"))
            return [entry.event for entry in sent(server)]

    first, second, other = [await script(seed) for seed in (7, 7, 8)]
    assert first == second
    assert first != other


# --- a request that was lost on its way -----------------------------------------


@pytest.mark.behaviour("S6", "S12")
@pytest.mark.parametrize("what", ["request", "answer"])
async def test_an_item_that_an_answer_passed_over_is_looked_for_and_stands_once(
    autojump_clock: trio.testing.MockClock, what: str
) -> None:
    """Whether the request was lost or only its answer: the server holds it once."""
    fault = (
        lose("conversation.item.create")
        if what == "request"
        else swallow("conversation.item.added")
    )
    async with realtime_stage(server={"faults": [fault]}) as (server, session):
        await until(lambda: session.settled)
        first, second = (
            Message(name, "user", (TextContent(f"Note {name}."),)) for name in "ab"
        )
        session.add_items([first])
        session.add_items([second])
        await settle(session)
        held = [item.id for item in server.connections[0].conversation]
        assert held == ["a", "b"] == list(session.chat_ctx.ids)
        assert len(server.connections) == 1


@pytest.mark.behaviour("S3")
async def test_a_deletion_that_an_answer_passed_over_is_asked_for_again_if_need_be(
    autojump_clock: trio.testing.MockClock,
) -> None:
    faults = [lose("conversation.item.delete")]
    async with realtime_stage(server={"faults": faults}) as (server, session):
        await session.send_message("One.")
        await session.send_message("Two.")
        one, two = session.chat_ctx.ids
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.delete_items, one)
            await trio.sleep(0.01)
            nursery.start_soon(session.delete_items, two)
        await settle(session)
        assert [item.id for item in server.connections[0].conversation] == []
        assert session.chat_ctx.items == ()
