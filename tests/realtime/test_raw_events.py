"""The provider's own events, in both directions, for what has no method here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import collecting, realtime_stage, until
from streams import at_rest, say, sent
from trialogue import ConversionError, RawServerEvent
from trialogue.dialects.openai.wire import client_events
from trialogue.dialects.openai.wire.codec import SERVER_EVENTS
from trialogue.dialects.openai.wire.server_events import UnknownServerEvent
from trialogue.realtime.connection import Connection
from trialogue.realtime.notices import ErrorNotice, RawEvent, ReplyEnded
from trialogue.testing import cut

if TYPE_CHECKING:
    from trialogue.realtime.broadcast import Subscription


def gathered(subscription: Subscription[Any]) -> list[Any]:
    """Everything that has come up to now."""
    found = []
    while True:
        try:
            found.append(subscription.receive_nowait())
        except trio.WouldBlock:
            return found


# --- to the provider ----------------------------------------------------------


async def test_a_raw_event_is_sent_as_it_is_with_an_id(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A dict or a typed event; with its own id where it has one."""
    async with realtime_stage(say()) as (server, session):
        await until(lambda: session.settled)
        kind = "input_audio_buffer.clear"
        made = session.send_raw({"type": kind, "event_id": "mine"})
        typed = session.send_raw(client_events.InputAudioBufferClear())
        named = session.send_raw(client_events.InputAudioBufferClear(event_id="theirs"))
        await until(lambda: len(sent(server, kind)) == 3)
        assert (made, named) == ("mine", "theirs")
        assert sent(server, kind) == [
            {"type": kind, "event_id": event_id}
            for event_id in ("mine", typed, "theirs")
        ]
        await at_rest(session)


@pytest.mark.behaviour("S7", "R2")
async def test_an_error_about_a_raw_event_names_it_and_disturbs_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(say()) as (_, session), collecting(session) as events:
        await until(lambda: session.settled)
        event_id = session.send_raw({"type": "no.such.event", "what": 1})
        with trio.fail_after(10):
            report = await session.send_message("Hello.")
        assert report.ok
        notices = [e for e in events if isinstance(e, ErrorNotice)]
        assert [(n.event_id, n.code) for n in notices] == [(event_id, "invalid_value")]
        await at_rest(session)


@pytest.mark.behaviour("S18")
@pytest.mark.parametrize(
    "event",
    [{}, {"type": 7}, {"type": "x", "n": b"bytes"}, ["type"]],
    ids=["empty", "no name", "no JSON", "no object"],
)
async def test_a_raw_event_that_is_none_is_refused(
    autojump_clock: trio.testing.MockClock, event: Any
) -> None:
    async with realtime_stage(say()) as (server, session):
        await until(lambda: session.settled)
        before = len(server.connections[0].entries)
        with pytest.raises(ConversionError):
            session.send_raw(event)
        await trio.sleep(0.1)
        assert len(server.connections[0].entries) == before
        await at_rest(session)


async def test_a_raw_event_is_not_repeated_on_the_next_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(say()) as (server, session):
        await until(lambda: session.settled)
        server.inject(cut(before="input_audio_buffer.clear"))
        session.send_raw({"type": "input_audio_buffer.clear"})
        await until(lambda: len(server.connections) == 2 and session.settled)
        await at_rest(session)
        assert not sent(server, "input_audio_buffer.clear", 1)


# --- from the provider --------------------------------------------------------


@pytest.mark.behaviour("C9")
async def test_every_event_of_the_provider_can_be_seen_typed_and_in_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        realtime_stage(say()) as (server, session),
        session.subscribe(RawServerEvent, ReplyEnded, buffer=1000) as events,
    ):
        await until(lambda: session.settled)
        await session.generate_reply()
        await at_rest(session)
        seen = gathered(events)
        raw = [event for event in seen if isinstance(event, RawServerEvent)]
        told = [e.type for e in server.connections[0].entries if e.direction == "out"]
        kinds = [event.type for event in raw]
        assert kinds == told[-len(kinds) :]
        assert "response.output_audio.delta" in kinds
        assert {event.generation for event in raw} == {1}
        for event in raw:
            made = SERVER_EVENTS.get(event.type, UnknownServerEvent)
            assert type(event.event) is made
        # It is seen before it is acted upon.
        done = kinds.index("response.done")
        [ended] = [n for n, event in enumerate(seen) if isinstance(event, ReplyEnded)]
        assert seen[ended - 1] is raw[done]


@pytest.mark.behaviour("C9")
async def test_events_of_unknown_types_are_seen_both_ways(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Raw like all others, and as a `RawEvent`, which is given to everybody."""
    async with (
        realtime_stage(say()) as (server, session),
        session.subscribe(RawServerEvent, RawEvent, buffer=1000) as events,
    ):
        await session.generate_reply()
        await at_rest(session)
        kinds = [e.type for e in server.connections[0].entries]
        [unknown] = [k for k in set(kinds) - set(SERVER_EVENTS) if "mood" in k]
        seen = [event for event in gathered(events) if event.type == unknown]
        assert seen
        for raw, known in zip(seen[::2], seen[1::2], strict=True):
            assert isinstance(raw, RawServerEvent)
            assert isinstance(known, RawEvent)
            assert raw.event.data == known.data


async def test_only_a_subscription_that_names_them_is_given_raw_events(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one no frame is read twice."""
    parsed: list[str] = []
    parse = Connection.parse

    def counting(self: Connection, text: str) -> Any:
        parsed.append(text)
        return parse(self, text)

    monkeypatch.setattr(Connection, "parse", counting)
    async with (
        realtime_stage(say()) as (_, session),
        session.subscribe(buffer=1000) as everything,
    ):
        await session.generate_reply()
        assert not parsed
        async with session.subscribe(RawServerEvent, buffer=1000) as raw:
            await session.generate_reply()
            assert len(parsed) == len(gathered(raw)) > 5
        count = len(parsed)
        await session.generate_reply()
        assert len(parsed) == count
        seen = gathered(everything)
        assert len(seen) > 5
        assert not [event for event in seen if isinstance(event, RawServerEvent)]
