"""A reply's stream beside agents: the playout says what was heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import Greeter, Weather, on_stage, outputs, running, speak, until
from streams import always, audio_of, held_ms, text_of
from trialogue import Agent, RunContext, function_tool
from trialogue.conversation.items import Message
from trialogue.testing import Call, CancelAtStep, Say, Turn, Utterances, late

if TYPE_CHECKING:
    from stage import Stage
    from trialogue import ReplyOutcome, ReplyStream


class Reader(Agent):
    """Reads along while it speaks."""

    instructions = "You are Kelly, a reader."

    def __init__(self) -> None:
        self.said: list[str] = []
        self.pcm = b""
        self.outcome: ReplyOutcome | None = None

    async def on_enter(self, ctx: RunContext) -> None:
        async with ctx.session.open_reply(instructions="Begin.") as reply:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, reply)
                async for text in reply.text():
                    self.said.append(text)
            self.outcome = await reply.outcome()

    async def _listen(self, reply: ReplyStream) -> None:
        self.pcm = await audio_of(reply)

    @function_tool
    async def clock(self) -> str:
        """Tell the time."""
        return "noon"


def one_call(turn: Turn) -> Any:
    if turn.output is None:
        return [Say("One moment please.", ms=2000), Call("clock", {})]
    return Say("It is noon.", ms=500)


@pytest.mark.behaviour("R12", "T1")
async def test_a_stream_looks_on_while_the_reply_is_played_and_its_tools_are_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The block is left long before the speech has been played: it plays to its end."""
    reader = Reader()
    async with on_stage(one_call) as stage, running(stage, reader):
        await until(lambda: len(stage.output.pcm) >= 2500 * 48)
        await stage.session.wait_for_playout()
        assert "".join(reader.said) == "One moment please."
        assert len(reader.pcm) == 2000 * 48
        assert reader.outcome is not None
        assert [call.name for call in reader.outcome.calls] == ["clock"]
        assert [output for _, output in outputs(stage)] == ["noon"]
        assert not stage.sent("conversation.item.truncate")
        assert not stage.sent("conversation.item.delete")
        assert not stage.sent("response.cancel")


@pytest.mark.behaviour("R5", "U3")
async def test_leaving_early_cuts_at_what_was_played_not_at_what_was_taken(
    autojump_clock: trio.testing.MockClock,
) -> None:
    brain = always(Say("One two three four.", ms=9000))
    async with on_stage(brain) as stage:
        await until(lambda: stage.session.realtime.connection is not None)
        async with running(stage, Greeter()):
            await until(lambda: stage.session.realtime.settled)
            async with stage.session.open_reply() as reply:
                taken = 0
                async for pcm in reply.audio():
                    taken += len(pcm) // 48
                    if taken > 4000:
                        break
            await until(lambda: stage.sent("conversation.item.truncate"))
            [truncate] = stage.sent("conversation.item.truncate")
            heard = truncate.event["audio_end_ms"]
            assert heard < taken
            played = len(stage.output.pcm) // 48
            assert heard == pytest.approx(played, abs=60)
            [message] = stage.session.chat_ctx.items
            assert isinstance(message, Message)
            assert message.heard_ms == heard
            assert held_ms(stage.server) == {message.id: heard}
            assert len(stage.sent("response.cancel")) == 1


@pytest.mark.behaviour("U3", "R6")
async def test_a_message_that_begins_after_an_interruption_is_never_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The cancel is long under way; what the server adds meanwhile is taken out."""
    two = [Say("First of all.", ms=3000), Say("And then.", ms=600)]
    faults = [late("response.cancel", seconds=5)]
    async with (
        on_stage(always(two), server={"faults": faults}) as stage,
        running(stage, Greeter()),
        trio.open_nursery() as nursery,
    ):
        realtime = stage.session.realtime
        await until(lambda: realtime.settled)
        nursery.start_soon(stage.session.generate_reply)
        await until(lambda: len(stage.output.pcm) > 4800)
        stage.session.interrupt()
        await until(lambda: not any(realtime.open_work.values()))
        first, _ = stage.server.connections[0].responses[0].item_ids
        assert list(held_ms(stage.server)) == [first]
        assert stage.session.chat_ctx.ids == (first,)


@pytest.mark.behaviour("U3")
async def test_a_block_left_after_the_reply_had_ended_lets_it_play_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """However little of it was taken: the loudspeaker hears all of it."""
    brain = always(Say("One two three four.", ms=3000))
    async with on_stage(brain) as stage, running(stage, Greeter()):
        await until(lambda: stage.session.realtime.settled)
        async with stage.session.open_reply() as reply:
            await anext(reply.audio())
            await until(lambda: not stage.session.realtime.open_work["active"])
        assert len(stage.output.pcm) < 2000 * 48
        await stage.session.wait_for_playout()
        assert len(stage.heard()) == 300
        assert not stage.sent("conversation.item.truncate")
        assert list(held_ms(stage.server).values()) == [3000]


@pytest.mark.behaviour("U3", "R9")
async def test_the_users_voice_ends_the_stream_as_it_ends_the_speech(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clips = Utterances()

    def brain(turn: Turn) -> Any:
        if turn.asked_by == "vad":
            return Say("As you like.", ms=300)
        return Say("One two three four.", ms=30_000)

    reader = Reader()
    async with (
        on_stage(brain, microphone=True, server={"utterances": clips}) as stage,
        running(stage, reader),
    ):
        await until(lambda: len(reader.said) > 1 and len(stage.output.pcm) > 48_000)
        assert stage.microphone is not None
        await speak(stage.microphone, clips.say("Stop!", 400))
        await until(lambda: reader.outcome is not None)
        assert reader.outcome is not None
        assert reader.outcome.outcome == "interrupted"
        assert reader.outcome.heard_ms is not None
        assert 900 < reader.outcome.heard_ms < 3000
        assert len(reader.pcm) < 30_000 * 48


class Leaver(Agent):
    """Hands over in the middle of a reply that it reads."""

    instructions = "You are Kelly, a friendly greeter."

    def __init__(self) -> None:
        self.left = False

    async def on_enter(self, ctx: RunContext) -> None:
        try:
            async with ctx.session.open_reply() as reply:
                await text_of(reply)
        finally:
            self.left = True

    @function_tool
    async def transfer_to_weather(self) -> Agent:
        """Transfer to the weather specialist."""
        return Weather()


@pytest.mark.behaviour("H17", "H4")
async def test_a_handoff_ends_the_block_and_lets_the_last_words_be_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What the old agent said plays on, though its stream's block was cancelled."""

    def brain(turn: Turn) -> Any:
        if "Kelly" in turn.instructions:
            return [Say("One moment.", ms=1500), Call("transfer_to_weather", {})]
        return Say("Sunny speaking.", ms=500)

    leaver = Leaver()
    async with on_stage(brain) as stage, running(stage, leaver):
        await until(lambda: isinstance(stage.session.agent, Weather))
        await stage.session.wait_for_playout()
        await until(lambda: len(stage.output.pcm) >= 2000 * 48)
        assert leaver.left
        assert len(stage.heard_under()) == 2
        assert not stage.sent("conversation.item.truncate")
        assert not stage.sent("conversation.item.delete")


async def _story(stage: Stage, step: int) -> CancelAtStep:
    async with running(stage, Greeter()):
        await until(lambda: stage.session.realtime.settled)
        with trio.CancelScope() as scope, CancelAtStep(step, scope) as sweep:
            async with stage.session.open_reply() as reply:
                await audio_of(reply)
                await reply.outcome()
        outcome = await stage.session.generate_reply()
        assert outcome.outcome == "completed"
        await stage.session.wait_for_playout()
        await until(lambda: not any(stage.session.realtime.open_work.values()))
        assert len(held_ms(stage.server)) == len(stage.session.chat_ctx.items)
        record = {
            item.id: item.heard_ms
            for item in stage.session.chat_ctx.items
            if isinstance(item, Message)
        }
        for item_id, ms in held_ms(stage.server).items():
            heard = record[item_id]
            assert ms == (300 if heard is None else heard)
    return sweep


@pytest.mark.behaviour("R5", "R6", "U3")
async def test_a_stream_cancelled_at_any_step_leaves_the_agents_in_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    step, fired = 0, True
    while fired:
        step += 7
        async with on_stage(lambda turn: Say("Hello there.", ms=300)) as stage:
            with trio.fail_after(60):
                fired = (await _story(stage, step)).fired
            assert not stage.server.protocol_errors
            codes = {
                e.event["error"]["code"]
                for e in stage.server.connections[0].find("error")
            }
            assert codes <= {"response_cancel_not_active"}
    assert step > 30
