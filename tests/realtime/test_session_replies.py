"""Replies of a session without agents: one at a time, each with one end."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import collecting, model_of, realtime_stage, until
from trialogue.conversation.items import Message, TextContent
from trialogue.dialects.events import Usage
from trialogue.dialects.options import ServerVAD, SessionOptions
from trialogue.errors import ResponseBusy, ResponseFailed, ServerError
from trialogue.realtime.listener import CutItem, Listener
from trialogue.realtime.notices import ErrorNotice, ReplyEnded, ReplyStarted
from trialogue.realtime.opening import open_session
from trialogue.testing import (
    Fail,
    Network,
    Pause,
    RealtimeServer,
    Say,
    Stop,
    Turn,
    Utterances,
    duplicate,
    late,
    lose,
    quiet,
    reject,
    swallow,
)
from trialogue.testing.scheduling import CancelAtStep

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trialogue.realtime.replies import ReplyOutcome, Response
    from trialogue.realtime.session import RealtimeSession
    from trialogue.testing import Brain, Reply

NO_MORE = Fail("insufficient_quota", "No more.")
QUIET = {"owed": 0, "queued": 0, "posted": 0, "active": 0, "turn": 0}


class Loudspeaker(Listener):
    """Counts what may be heard; plays at once, so that all of it was heard."""

    def __init__(self) -> None:
        self.pcm: dict[str, bytes] = {}
        self.texts: dict[str, str] = {}
        self.items: dict[str, str] = {}
        self.done: set[str] = set()
        self.stopped: set[str] = set()

    def audio(self, response: Response, item_id: str, pcm: bytes) -> None:
        self.pcm[response.id] = self.pcm.get(response.id, b"") + pcm
        self.items[response.id] = item_id

    def text(self, response: Response, item_id: str, text: str) -> None:
        self.texts[response.id] = self.texts.get(response.id, "") + text

    def heard_ms(self, response: Response) -> int:
        return len(self.pcm.get(response.id, b"")) // 48

    def response_done(self, response: Response) -> None:
        self.done.add(response.id)

    def cut(
        self, response: Response | None, *, force: bool = False
    ) -> Sequence[CutItem]:
        playing = [i for i in self.items if i not in self.done]
        chosen = playing if response is None else [response.id]
        chosen = [i for i in chosen if i in self.items and i not in self.stopped]
        self.stopped.update(chosen)
        ms = {i: len(self.pcm[i]) // 48 for i in chosen}
        return [CutItem(self.items[i], ms[i], ms[i]) for i in chosen]


def always(reply: Reply) -> Brain:
    return lambda turn: reply


def say(text: str = "Hello there.", ms: int = 1000) -> Brain:
    return always(Say(text, ms=ms))


def sent(server: RealtimeServer, kind: str) -> list[Any]:
    return [e.event for e in server.connections[-1].find(kind, "in")]


def overlap(server: RealtimeServer) -> bool:
    """Whether two responses of the conversation ever ran at once."""
    spans = sorted(
        (r.created, r.done or float("inf"))
        for r in server.connections[-1].responses
        if r.in_conversation
    )
    return any(b[0] < a[1] for a, b in itertools.pairwise(spans))


async def at_rest(session: RealtimeSession) -> None:
    await until(lambda: session.open_work == QUIET)


# --- busy ---------------------------------------------------------------------


def vad_answers(turn: Turn) -> Any:
    """What turn detection begins takes a while; what the program asks for is short."""
    if turn.asked_by == "vad":
        return Say("The server began this by itself.", ms=4000)
    return Say("As you asked.", ms=500)


class Unasked:
    """A session whose server begins a response that the client cannot see coming."""

    def __init__(self) -> None:
        self.clips = Utterances()
        self.turn = self.clips.say("Hello?", 600)
        self.options = SessionOptions(turn_detection=ServerVAD())

    def stage(self, **session: Any) -> Any:
        return realtime_stage(
            vad_answers,
            server={"utterances": self.clips, "network": Network(one_way=0.05)},
            options=self.options,
            **session,
        )

    async def speak_and_collide(self, session: RealtimeSession, server: Any) -> None:
        """Get a `response.create` to the server just after its own response began."""
        server.inject(
            late("input_audio_buffer.speech_started", seconds=1.5),
            late("input_audio_buffer.speech_stopped", seconds=1.5),
            late("input_audio_buffer.committed", seconds=1.5),
            late("response.created", seconds=1.5),
        )
        session.push_audio(self.turn + quiet(800))
        await until(lambda: server.connections[0].responses)


@pytest.mark.behaviour("R1", "R10")
async def test_a_create_that_meets_an_unasked_response_is_queued_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The server says there is an active response: no error, the reply comes after."""
    scene = Unasked()
    async with scene.stage() as (server, session), collecting(session) as events:
        await until(lambda: session.settled)
        with trio.fail_after(60):
            await scene.speak_and_collide(session, server)
            outcome = await session.generate_reply()
        assert outcome.outcome == "completed"
        assert outcome.text == "As you asked."
        codes = [e.event["error"]["code"] for e in server.connections[0].find("error")]
        assert codes == ["conversation_already_has_active_response"]
        assert len(sent(server, "response.create")) == 2
        assert [r.asked_by for r in server.connections[0].responses] == [
            "vad",
            "client",
        ]
        assert not overlap(server)
        assert not [e for e in events if isinstance(e, ErrorNotice)]
        await at_rest(session)


@pytest.mark.behaviour("R1")
async def test_a_create_that_meets_an_unasked_response_raises_on_request(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`if_busy="raise"`: ResponseBusy, at once, with the provider's code."""
    scene = Unasked()
    async with scene.stage() as (server, session):
        await until(lambda: session.settled)
        with trio.fail_after(60):
            await scene.speak_and_collide(session, server)
            began = trio.current_time()
            with pytest.raises(ResponseBusy) as caught:
                await session.generate_reply(if_busy="raise")
        assert caught.value.code == "conversation_already_has_active_response"
        assert trio.current_time() - began == pytest.approx(0.1, abs=0.02)
        assert len(sent(server, "response.create")) == 1
        await at_rest(session)
        assert (await session.generate_reply()).outcome == "completed"


@pytest.mark.behaviour("R1")
@pytest.mark.parametrize("code", ["invalid_value", "server_error", "some_new_code"])
async def test_every_other_rejection_fails_its_caller_at_once(
    autojump_clock: trio.testing.MockClock, code: str
) -> None:
    """With the code, in one round trip; the next reply works on the same connection."""
    async with realtime_stage(say()) as (server, session):
        await until(lambda: session.settled)
        server.inject(reject("response.create", code=code))
        began = trio.current_time()
        with trio.fail_after(30), pytest.raises(ServerError) as caught:
            await session.generate_reply()
        assert caught.value.code == code
        assert trio.current_time() - began < 0.1
        await at_rest(session)
        assert (await session.generate_reply()).outcome == "completed"
        assert len(server.connections) == 1


@pytest.mark.behaviour("R10", "R1")
async def test_while_one_reply_runs_skip_skips_raise_raises_and_wait_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    line = {"network": Network(one_way=0.02)}
    async with realtime_stage(say(ms=3000), server=line) as (server, session):
        outcomes: list[ReplyOutcome] = []

        async def ask() -> None:
            outcomes.append(await session.generate_reply())

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await until(lambda: session.open_work["active"])
                skipped = await session.generate_reply(if_busy="skip")
                assert skipped.outcome == "skipped"
                with pytest.raises(ResponseBusy) as caught:
                    await session.generate_reply(if_busy="raise")
                assert caught.value.code is None
                nursery.start_soon(ask)
                nursery.start_soon(ask)
        assert [o.outcome for o in outcomes] == ["completed"] * 3
        assert len(sent(server, "response.create")) == 3
        assert not overlap(server)
        assert not server.connections[0].find("error")


@pytest.mark.behaviour("R10")
async def test_out_of_band_replies_run_beside_the_conversations_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Three at once: two beside, one in the conversation; only that one is written."""
    async with realtime_stage(say(ms=3000)) as (server, session):
        results: dict[str, ReplyOutcome] = {}
        words = Message("item_in", "user", (TextContent("Summarise."),))

        async def ask(name: str, **how: Any) -> None:
            results[name] = await session.generate_reply(**how)

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, "own")
                await until(lambda: session.open_work["active"])
                for name in ("one", "two"):
                    metadata = {"n": name}
                    asking = partial(ask, name, out_of_band=True, input=[words])
                    nursery.start_soon(partial(asking, metadata=metadata))
        assert {n: r.outcome for n, r in results.items()} == dict.fromkeys(
            ("own", "one", "two"), "completed"
        )
        assert all(r.text == "Hello there." for r in results.values())
        records = {r.id: r for r in server.connections[0].responses}
        beside = [records[str(results[n].response_id)] for n in ("one", "two")]
        own = records[str(results["own"].response_id)]
        assert own.done is not None
        assert not any(r.in_conversation for r in beside)
        assert all(r.created < own.done for r in beside)
        assert [(r.metadata or {})["n"] for r in beside] == ["one", "two"]
        assert session.chat_ctx.ids == tuple(own.item_ids)
        await at_rest(session)


# --- errors that are about nobody ---------------------------------------------


@pytest.mark.behaviour("R2", "S7")
async def test_an_error_naming_an_unknown_event_leaves_pending_requests_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An update and an item are outstanding; the error is published, no more."""
    async with (
        realtime_stage(say()) as (server, session),
        collecting(session) as events,
    ):
        await until(lambda: session.settled)
        items = [Message(f"item_{n}", "user", (TextContent("Hi."),)) for n in range(2)]
        server.inject(
            # The first item is refused, and the error comes twice: the second
            # time it names an event that nobody owes anything for any more.
            reject("conversation.item.create", code="invalid_value"),
            duplicate("error"),
            late("session.updated", seconds=1.0),
            late("conversation.item.added", seconds=1.0),
            late("conversation.item.done", seconds=1.0),
        )
        with trio.fail_after(30):
            report = await session.update_session(
                instructions="You are Sunny.",
                chat_ctx=session.chat_ctx.insert(items[0]).insert(items[1]),
            )
            reply = await session.generate_reply()
        notices = [e for e in events if isinstance(e, ErrorNotice)]
        assert [n.code for n in notices] == ["invalid_value"]
        states = {r.item_id: r.state.value for r in report.requests}
        assert states == {
            None: "acknowledged",
            "item_0": "rejected",
            "item_1": "acknowledged",
        }
        assert reply.outcome == "completed"


# --- leaving early ------------------------------------------------------------


@pytest.mark.behaviour("R5")
async def test_a_reply_cancelled_before_it_was_created_is_cancelled_at_the_server(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """By id, as soon as it appears; nothing of it is heard, and the next one works."""
    speaker = Loudspeaker()
    async with realtime_stage(
        say(ms=4000), server={"network": Network(one_way=0.1)}, listener=speaker
    ) as (server, session):
        await until(lambda: session.settled)
        with trio.move_on_after(0.15) as scope:  # written, and not yet answered
            await session.generate_reply()
        assert scope.cancelled_caught
        with trio.fail_after(30):
            outcome = await session.generate_reply(instructions="Again.")
        assert outcome.outcome == "completed"
        first, second = server.connections[0].responses
        assert (first.status, second.status) == ("cancelled", "completed")
        [cancel] = sent(server, "response.cancel")
        assert cancel["response_id"] == first.id
        assert set(speaker.pcm) == {second.id}
        assert session.chat_ctx.ids == tuple(second.item_ids)
        assert not overlap(server)
        await at_rest(session)


@pytest.mark.behaviour("R5")
async def test_a_reply_cancelled_at_any_step_leaves_the_slot_free(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whatever the caller was waiting for, the next reply is heard whole."""
    step = 0
    while True:
        step += 3
        speaker = Loudspeaker()
        async with realtime_stage(say(ms=200), listener=speaker) as (server, session):
            await until(lambda: session.settled)
            with trio.fail_after(30):
                with trio.CancelScope() as scope, CancelAtStep(step, scope) as sweep:
                    await session.generate_reply()
                outcome = await session.generate_reply()
                await at_rest(session)
            assert outcome.outcome == "completed"
            assert outcome.response_id is not None
            assert len(speaker.pcm[outcome.response_id]) == 200 * 48
            assert not overlap(server)
            # The cancel of a response that has just ended is a race, not an error.
            errors = server.connections[0].find("error")
            codes = {e.event["error"]["code"] for e in errors}
            assert codes <= {"response_cancel_not_active"}
            assert len(server.connections) == 1
        if not sweep.fired:
            break
    assert step > 20


@pytest.mark.behaviour("R6")
async def test_a_response_that_comes_after_its_caller_timed_out_is_never_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It begins 3 s late, its caller gone after one: cancelled by id, silent."""
    speaker = Loudspeaker()
    async with realtime_stage(
        say(ms=8000),
        server={
            "faults": [late("response.create", seconds=3.0)],
            "network": Network(one_way=0.1),
        },
        listener=speaker,
    ) as (server, session):
        await until(lambda: session.settled)
        async with collecting(session) as events:
            with trio.move_on_after(1.0):
                await session.generate_reply()
            await until(lambda: sent(server, "response.cancel"), 10)
            await at_rest(session)
            [late_one] = server.connections[0].responses
            [cancel] = sent(server, "response.cancel")
            assert cancel["response_id"] == late_one.id
            assert speaker.pcm == {}
            assert speaker.texts == {}
            assert not [e for e in events if isinstance(e, ReplyStarted | ReplyEnded)]
            assert session.chat_ctx.ids == ()
        assert (await session.generate_reply()).outcome == "completed"


@pytest.mark.behaviour("R6")
async def test_an_interrupted_wish_is_not_heard_when_its_response_appears(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`interrupt()` while the request is under way: the response is stopped by id."""
    speaker = Loudspeaker()
    async with realtime_stage(
        say(ms=4000), server={"network": Network(one_way=0.1)}, listener=speaker
    ) as (server, session):
        await until(lambda: session.settled)
        outcomes: list[ReplyOutcome] = []

        async def ask() -> None:
            outcomes.append(await session.generate_reply())

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await until(lambda: session.open_work["posted"])
                session.interrupt()
            await at_rest(session)
        assert outcomes[0].outcome == "interrupted"
        assert speaker.pcm == {}
        [response] = server.connections[0].responses
        assert response.status == "cancelled"


# --- what a reply is asked with -----------------------------------------------


@pytest.mark.behaviour("R8")
async def test_instructions_of_a_reply_add_to_the_sessions_unless_told_to_replace(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(instructions="You are Kelly.") as (server, session):
        await until(lambda: session.settled)
        await session.generate_reply()
        await session.generate_reply(instructions="Be short.")
        await session.generate_reply(instructions="Only this.", replace=True)
        await session.generate_reply()
        assert [r.instructions for r in server.connections[0].responses] == [
            "You are Kelly.",
            "You are Kelly.\n\nBe short.",
            "Only this.",
            "You are Kelly.",
        ]
        overrides = [r.override is None for r in server.connections[0].responses]
        assert overrides == [True, False, False, True]


# --- how it ends --------------------------------------------------------------


@pytest.mark.behaviour("R9", "R4")
async def test_a_failed_reply_raises_in_its_awaiter_and_nowhere_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    failing: Reply = [Say("Well"), Fail("server_error", "Out of luck.")]
    replies: Iterator[Reply] = iter([failing, "Better."])
    async with realtime_stage(lambda turn: next(replies)) as (server, session):
        async with collecting(session) as events:
            with pytest.raises(ResponseFailed, match=r"Out of luck\.") as caught:
                await session.generate_reply()
            assert caught.value.code == "server_error"
            assert caught.value.recoverable
            assert not [e for e in events if isinstance(e, ErrorNotice)]
            assert (await session.generate_reply()).text == "Better."
        assert len(server.connections) == 1


@pytest.mark.behaviour("R4", "R9")
async def test_a_reply_that_fails_for_good_ends_the_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Quota exhausted in a response: the session raises it, nothing dials again."""
    server = RealtimeServer(always(NO_MORE))
    with trio.fail_after(30):
        with pytest.raises(ServerError) as caught:  # noqa: PT012
            async with server.serving(), open_session(model_of(server)) as session:
                with pytest.raises(ResponseFailed):
                    await session.generate_reply()
                await trio.sleep_forever()
    assert caught.value.code == "insufficient_quota"
    assert not caught.value.recoverable
    assert server.dials == 1


@pytest.mark.behaviour("R9")
async def test_an_interrupted_reply_returns_what_was_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Stopped in the middle: the outcome, the time heard, and a truncation there."""
    speaker = Loudspeaker()
    async with realtime_stage(
        say("One two three four five six seven eight.", ms=8000), listener=speaker
    ) as (server, session):
        outcomes: list[ReplyOutcome] = []

        async def ask() -> None:
            outcomes.append(await session.generate_reply())

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await until(lambda: speaker.pcm)
                await trio.sleep(0.2)
                session.interrupt()
            await at_rest(session)
        [outcome] = outcomes
        assert outcome.outcome == "interrupted"
        assert outcome.heard_ms is not None
        assert 0 < outcome.heard_ms < 8000
        [cancel] = sent(server, "response.cancel")
        assert cancel["response_id"] == outcome.response_id
        [truncate] = sent(server, "conversation.item.truncate")
        assert truncate["audio_end_ms"] == outcome.heard_ms
        [item] = session.chat_ctx.items
        assert isinstance(item, Message)
        assert item.heard_ms == outcome.heard_ms
        assert (await session.generate_reply()).outcome == "completed"


@pytest.mark.behaviour("R9")
async def test_an_incomplete_reply_returns_what_there_is(
    autojump_clock: trio.testing.MockClock,
) -> None:
    brain = always([Say("So far."), Stop("max_output_tokens")])
    async with realtime_stage(brain) as (_, session):
        outcome = await session.generate_reply()
        assert (outcome.outcome, outcome.text) == ("incomplete", "So far.")


@pytest.mark.behaviour("R7")
async def test_a_response_whose_beginning_was_never_announced_is_adopted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`response.created` is lost: the reply still ends, and nothing crashes."""
    faults = [swallow("response.created"), swallow("rate_limits.updated", nth=None)]
    async with realtime_stage(say(), server={"faults": faults}) as (server, session):
        with trio.fail_after(60):
            first = await session.generate_reply()
            second = await session.generate_reply()
        assert first.outcome == second.outcome == "completed"
        first_record, second_record = server.connections[0].responses
        assert first.response_id == first_record.id
        assert second.response_id == second_record.id
        await at_rest(session)


async def test_a_reply_that_never_begins_is_asked_for_again_elsewhere(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Lost once more where it was: the connection is given up, the wish is not."""
    faults = [lose("response.create", nth=nth) for nth in (1, 2)]
    async with realtime_stage(say(), server={"faults": faults}) as (server, session):
        with trio.fail_after(30):
            outcome = await session.generate_reply()
        assert outcome.outcome == "completed"
        assert len(server.connections) == 2


async def test_a_response_that_falls_silent_ends_its_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """15 s without an event: lost if a part was heard, never waited for without end."""
    speaker = Loudspeaker()
    brain = always([Say("Well.", ms=300), Pause(3000), Say("So.")])
    async with realtime_stage(brain, listener=speaker) as (server, session):
        began = trio.current_time()
        with trio.fail_after(60):
            outcome = await session.generate_reply()
        assert outcome.outcome == "lost"
        assert trio.current_time() - began == pytest.approx(15, abs=1.5)
        await until(lambda: len(server.connections) == 2)


# --- usage --------------------------------------------------------------------


@pytest.mark.behaviour("R13")
async def test_usage_is_reported_per_response_and_in_total_by_modality(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Three responses, one of them cancelled, one out of band: all are in the total."""
    speaker = Loudspeaker()
    words = "You are Kelly, and you know the house rules by heart. " * 40
    async with realtime_stage(say(ms=4000), instructions=words, listener=speaker) as (
        server,
        session,
    ):
        outcomes: list[ReplyOutcome] = []

        async def ask(**how: Any) -> None:
            outcomes.append(await session.generate_reply(**how))

        with trio.fail_after(60):
            await ask()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await until(lambda: len(speaker.pcm) == 2)
                await trio.sleep(0.2)
                session.interrupt()
            await ask(out_of_band=True)
        assert [o.outcome for o in outcomes] == [
            "completed",
            "interrupted",
            "completed",
        ]
        wire = [
            e.event["response"]["usage"]
            for e in server.connections[0].find("response.done", "out")
        ]
        total = Usage()
        for outcome, said in zip(outcomes, wire, strict=True):
            assert outcome.usage is not None
            details = said["output_token_details"]
            assert outcome.usage.output_audio_tokens == details["audio_tokens"]
            assert outcome.usage.output_text_tokens == details["text_tokens"]
            total += outcome.usage
        assert session.usage == total
        cached = sum(u["input_token_details"]["cached_tokens"] for u in wire)
        assert cached > 0
        assert session.usage.cached_tokens == cached
        assert session.usage.output_audio_tokens > 0
