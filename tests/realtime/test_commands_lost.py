"""What becomes of a command when its connection is lost: docs/commands.md, by row."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import model_of, realtime_stage, until
from streams import always, at_rest, say, sent
from trialogue import (
    ConnectionLost,
    Message,
    SessionClosed,
    open_session,
)
from trialogue.dialects.options import SessionOptions
from trialogue.testing import (
    Call,
    CancelAtStep,
    Network,
    RealtimeServer,
    cut,
    refuse_connect,
    seeded,
    voice,
)

if TYPE_CHECKING:
    from trialogue.realtime.session import RealtimeSession

MANUAL = SessionOptions(turn_detection=None)


def states(report: Any) -> list[str]:
    return [request.state.value for request in report.requests]


# --- what becomes of each when the connection is lost (docs/commands.md) ------


async def _interrupted(
    session: RealtimeSession, server: RealtimeServer, kind: str, command: Any
) -> Any:
    """Give a command whose connection drops when it has been read, unanswered."""
    server.inject(cut(before=kind, connection=0))
    lost: ConnectionLost | None = None
    answer: Any = None
    with trio.fail_after(60):
        try:
            answer = await command()
        except ConnectionLost as error:
            lost = error
        await until(lambda: len(server.connections) == 2 and session.settled)
        await at_rest(session)
    if lost is not None:
        raise lost
    return answer


@pytest.mark.behaviour("C2")
@pytest.mark.parametrize(
    "content", ["Hello.", voice("Hello.", 400)], ids=["text", "sound"]
)
async def test_a_message_lost_with_its_connection_is_given_to_the_next(
    autojump_clock: trio.testing.MockClock, content: Any
) -> None:
    """The report says "lost"; the conversation has it once. Sound stays sound."""
    async with realtime_stage(say()) as (server, session):
        await until(lambda: session.settled)
        report = await _interrupted(
            session,
            server,
            "conversation.item.create",
            partial(session.send_message, content),
        )
        assert states(report) == ["lost"]
        [held] = server.live[0].conversation
        assert session.chat_ctx.ids == (held.item.id,)
        assert bytes(held.pcm) == (content if isinstance(content, bytes) else b"")
        # It asked for no reply; a fresh connection is no reason to make one.
        await trio.sleep(5)
        assert not server.connections[1].responses


@pytest.mark.behaviour("C2", "T1")
async def test_a_tool_output_lost_with_its_connection_is_confirmed_by_the_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The wait goes on over the change, and ends when the next one has it."""
    async with realtime_stage(always(Call("look", {}))) as (server, session):
        [call] = (await session.generate_reply()).calls
        report = await _interrupted(
            session,
            server,
            "conversation.item.create",
            partial(session.send_tool_output, call, "There."),
        )
        assert report.ok
        kinds = [held.item.type for held in server.live[0].conversation]
        assert kinds == ["function_call", "function_call_output"]


@pytest.mark.behaviour("C2", "T1", "S19")
async def test_a_call_made_on_a_lost_connection_can_still_be_answered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The next server is given the call together with its output."""
    async with realtime_stage(always(Call("look", {}))) as (server, session):
        [call] = (await session.generate_reply()).calls
        server.inject(cut(before="conversation.item.create", connection=0))
        assert states(await session.send_message("Hello?")) == ["lost"]
        await until(lambda: len(server.connections) == 2 and session.settled)
        assert (await session.send_tool_output(call, "There.")).ok
        kinds = [held.item.type for held in server.live[0].conversation]
        assert sorted(kinds) == ["function_call", "function_call_output", "message"]
        assert not server.connections[1].find("error")
        kinds = [type(item).__name__ for item in session.chat_ctx.items]
        assert sorted(kinds) == ["FunctionCall", "FunctionCallOutput", "Message"]
        await at_rest(session)


@pytest.mark.behaviour("T3", "C12")
async def test_an_output_whose_sender_is_cancelled_at_any_step_stands_or_never_was(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Once it is in the record the server has it: what a tool found is never lost."""
    stood: list[int] = []
    for step in itertools.count():
        async with realtime_stage(always(Call("look", {}))) as (server, session):
            [call] = (await session.generate_reply()).calls
            with trio.CancelScope() as scope, CancelAtStep(step, scope) as sweep:
                if step == 0:
                    scope.cancel()
                await session.send_tool_output(call, "There.")
            await at_rest(session)
            held = [one.item.id for one in server.live[0].conversation]
            assert held == list(session.chat_ctx.ids)
            stood.append(len(held))
        if step and not sweep.fired:
            break
    assert len(stood) > 5
    assert stood == [1, *[2] * (len(stood) - 1)]


@pytest.mark.behaviour("T3")
@pytest.mark.parametrize("seed", range(4))
async def test_an_output_is_sent_though_its_sender_has_no_time_to_wait(
    autojump_clock: trio.testing.MockClock, seed: int
) -> None:
    """Whether its time is up before it is written, or behind: it is not taken back."""
    async with realtime_stage(always(Call("look", {}))) as (server, session):
        [call] = (await session.generate_reply()).calls
        with seeded(seed):
            report = await session.send_tool_output(call, "There.", ack_timeout=0)
            await at_rest(session)
        assert states(report) == ["unanswered"]
        held = [one.item.type for one in server.live[0].conversation]
        assert held == ["function_call", "function_call_output"]


@pytest.mark.behaviour("C2")
async def test_a_deletion_lost_with_its_connection_is_carried_out_by_the_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(say()) as (server, session):
        await session.send_message("Keep.")
        await session.send_message("Drop.")
        keep, drop = session.chat_ctx.ids
        report = await _interrupted(
            session,
            server,
            "conversation.item.delete",
            partial(session.delete_items, drop),
        )
        assert states(report) == ["lost"]
        assert [held.item.id for held in server.live[0].conversation] == [keep]
        assert session.chat_ctx.ids == (keep,)


@pytest.mark.behaviour("C2")
async def test_a_retrieval_lost_with_its_connection_raises(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(say()) as (server, session):
        await session.send_message("Hello.")
        [item_id] = session.chat_ctx.ids
        with pytest.raises(ConnectionLost, match="ask again"):
            await _interrupted(
                session,
                server,
                "conversation.item.retrieve",
                partial(session.retrieve_item, item_id),
            )
        assert (await session.retrieve_item(item_id)).item.id == item_id


@pytest.mark.behaviour("C2")
@pytest.mark.parametrize("command", ["commit", "clear"])
async def test_a_command_about_audio_is_lost_with_its_connection(
    autojump_clock: trio.testing.MockClock, command: str
) -> None:
    """The audio is not: an uncommitted turn goes to the next connection."""
    async with realtime_stage(say(), options=MANUAL) as (server, session):
        await until(lambda: session.settled)
        session.push_audio(voice("Hello.", 300))
        report = await _interrupted(
            session,
            server,
            f"input_audio_buffer.{command}",
            getattr(session, f"{command}_audio"),
        )
        assert states(report) == ["lost"]
        assert (await session.commit_audio()).ok
        [committed] = server.connections[1].committed
        assert committed.pcm == voice("Hello.", 300)


@pytest.mark.behaviour("C2")
async def test_a_truncation_lost_with_its_connection_is_reported(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The next connection is given the words that the record shows."""
    async with realtime_stage(say("One two three four.", ms=2000)) as (server, session):
        await session.generate_reply()
        [item_id] = session.chat_ctx.ids
        report = await _interrupted(
            session,
            server,
            "conversation.item.truncate",
            partial(session.truncate, item_id, 500),
        )
        assert states(report) == ["lost"]


@pytest.mark.behaviour("C12")
@pytest.mark.parametrize(
    "command",
    ["send_message", "delete_items", "truncate", "commit_audio", "clear_audio"],
)
async def test_without_a_connection_in_time_nothing_is_sent(
    autojump_clock: trio.testing.MockClock, command: str
) -> None:
    """Reported as "not_sent" when the time is up; nothing of it stays behind."""
    arguments: dict[str, tuple[Any, ...]] = {
        "send_message": ("Hello.",),
        "delete_items": ("item_a",),
        "truncate": ("item_a", 10),
    }
    async with realtime_stage(say()) as (server, session):
        await _out_of_service(server, session)
        began = trio.current_time()
        call = getattr(session, command)
        report = await call(*arguments.get(command, ()), ack_timeout=0.2)
        assert trio.current_time() - began == pytest.approx(0.2, abs=0.01)
        assert states(report) == ["not_sent"]
        assert session.chat_ctx.items == ()


async def _out_of_service(server: RealtimeServer, session: RealtimeSession) -> None:
    await until(lambda: session.settled)
    server.inject(refuse_connect(2), cut(after="conversation.item.create"))
    session.send_raw({"type": "conversation.item.create", "item": {}})
    await until(lambda: not session.settled)


@pytest.mark.behaviour("T3", "C2")
async def test_a_tool_output_given_during_an_outage_waits_for_the_next_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(always(Call("look", {}))) as (server, session):
        [call] = (await session.generate_reply()).calls
        await _out_of_service(server, session)
        with pytest.raises(ConnectionLost, match="no connection serves"):
            session.send_raw({"type": "input_audio_buffer.clear"})
        with pytest.raises(ConnectionLost, match="was not asked for"):
            await session.retrieve_item("item_a", ack_timeout=0.05)
        assert (await session.send_tool_output(call, "There.", ack_timeout=30)).ok
        kinds = [held.item.type for held in server.live[0].conversation]
        assert kinds == ["function_call", "function_call_output"]


@pytest.mark.behaviour("C7")
async def test_a_closed_session_takes_no_command(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with RealtimeServer(say()).serving() as server:
        async with open_session(model_of(server)) as session:
            pass
        for call in (
            partial(session.send_message, "Hello."),
            partial(session.send_tool_output, "call_a", "1"),
            partial(session.delete_items, "item_a"),
            partial(session.truncate, "item_a", 10),
            partial(session.retrieve_item, "item_a"),
            session.commit_audio,
            session.clear_audio,
        ):
            with pytest.raises(SessionClosed):
                await call()
        with pytest.raises(SessionClosed):
            session.send_raw({"type": "response.cancel"})


@pytest.mark.behaviour("C12", "S11")
async def test_a_message_whose_sender_gives_up_is_withdrawn_or_stands(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Unwritten it never was; written it is in the record when its answer comes."""
    async with realtime_stage(say(), server={"network": Network(one_way=0.1)}) as (
        server,
        session,
    ):
        await until(lambda: session.settled)
        with trio.CancelScope() as scope:
            scope.cancel()
            await session.send_message("Never.")
        assert not session.chat_ctx.ids
        with trio.move_on_after(0.05):
            await session.send_message("Written.")
        await at_rest(session)
        [item] = session.chat_ctx.items
        assert isinstance(item, Message)
        assert item.text == "Written."
        assert len(sent(server, "conversation.item.create")) == 1
