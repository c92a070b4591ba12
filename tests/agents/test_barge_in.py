"""The user speaks while an agent does, or while the connection is lost."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from stage import Greeter, Line, Stage, Weather, on_stage, until
from trialogue import Agent, RunContext, function_tool
from trialogue.agents.events import HandoffStarted
from trialogue.conversation.items import FunctionCallOutput, Message
from trialogue.realtime.notices import UserStartedSpeaking
from trialogue.testing import (
    Call,
    Network,
    Pace,
    Pause,
    Say,
    Settings,
    Turn,
    close,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trialogue.agents.session import AgentSession
    from trialogue.realtime.replies import ReplyOutcome
    from trialogue.testing import LogEntry

STORY = "Once upon a time there was a very long story that nobody wants to hear."
REPLY = "Fine, I stop."
WORDS = "stop that please"
PADDING = 0.3
"""Seconds before the voice that turn detection counts as the turn's."""


class Teller(Agent):
    """Tells a story as it enters, and keeps how its reply ended."""

    instructions = "You tell stories."

    def __init__(self) -> None:
        super().__init__()
        self.outcome: ReplyOutcome | None = None

    async def on_enter(self, ctx: RunContext) -> None:
        self.outcome = await ctx.session.generate_reply(instructions="Tell a story.")


def telling(*parts: Any) -> Any:
    """Return a brain that says this when told to, and else answers the user."""

    def brain(turn: Turn) -> Any:
        told = "Tell" in (turn.override or "") and turn.output is None
        return list(parts) if told else Say(REPLY, ms=500)

    return brain


@attrs.define(eq=False)
class Conversation:
    """A conversation that is under way: the line, and what it is about."""

    stage: Stage
    line: Line

    @property
    def session(self) -> AgentSession:
        return self.stage.session

    def say(self, seconds: float = 0.6) -> tuple[bytes, float]:
        """Say something from now on; return its audio and when it ends."""
        utterances = self.stage.server.utterances
        pcm = utterances.say(WORDS, ms=round(seconds * 1000))
        return pcm, self.line.say(pcm)

    async def quiet(self) -> None:
        """Wait until everything has been said and heard."""
        await trio.sleep(5)
        assert not any(self.session.realtime.open_work.values())

    def asked(self, kind: str) -> list[LogEntry]:
        """Return what was asked of the servers, in order."""
        return [
            entry
            for connection in self.stage.server.connections
            for entry in connection.find(kind, "in")
        ]

    @property
    def errors(self) -> list[str]:
        """What the servers refused, in their words."""
        return [
            entry.event["error"]["message"]
            for connection in self.stage.server.connections
            for entry in connection.find("error", "out")
        ]

    def message(self, text: str) -> Message:
        """Return the message of the record that begins like a text."""
        messages = [i for i in self.session.chat_ctx if isinstance(i, Message)]
        (found,) = (m for m in messages if m.text and text.startswith(m.text))
        return found


@asynccontextmanager
async def calling(
    agent: Agent, brain: Any, *, model: dict[str, Any] | None = None, **server: Any
) -> AsyncIterator[Conversation]:
    """Call an agent over a telephone line; hang up when the block is left."""
    async with (
        on_stage(brain, microphone=True, server=server, model=model) as stage,
        trio.open_nursery() as nursery,
    ):
        assert stage.microphone is not None
        line = Line(stage.microphone)
        nursery.start_soon(line.run)
        nursery.start_soon(stage.session.run, agent)
        with trio.fail_after(60):  # noqa: ASYNC100 - it bounds the caller's block
            yield Conversation(stage, line)
        nursery.cancel_scope.cancel()


def silent_by(stage: Stage) -> float:
    """Return when the first sound that was played had ended."""
    return stage.output.runs[0].end


@pytest.mark.behaviour("U3")
@pytest.mark.parametrize("one_way", [0.0, 0.03])
@pytest.mark.parametrize("burst", [1.0, 10.0])
@pytest.mark.parametrize("after", [0.5, 1.3])
async def test_the_users_voice_stops_the_sound_and_truncates_at_what_was_heard(
    autojump_clock: trio.testing.MockClock, one_way: float, burst: float, after: float
) -> None:
    """At once, within 20 ms, and never past what the server has sent."""
    agent = Teller()
    options: dict[str, Any] = {
        "network": Network(one_way=one_way),
        "settings": Settings(pace=Pace(burst=burst)),
    }
    async with calling(agent, telling(Say(STORY, ms=3000)), **options) as call:
        await until(lambda: call.stage.output.pcm)
        await trio.sleep(after)
        call.say()
        await until(lambda: call.stage.of(UserStartedSpeaking))
        noticed = trio.current_time()
        await call.quiet()
        assert silent_by(call.stage) <= noticed + 0.02
        heard = len(call.stage.output.runs[0].pcm) // 48
        (truncate,) = call.asked("conversation.item.truncate")
        assert truncate.event["audio_end_ms"] == pytest.approx(heard, abs=20)
        assert call.errors == []
        story = call.message(STORY)
        assert story.heard_ms == truncate.event["audio_end_ms"]
        assert len(story.text) < len(STORY)
        assert call.asked("conversation.item.delete") == []
        assert call.message(REPLY).heard_ms is None


@pytest.mark.behaviour("U3")
async def test_what_was_not_heard_at_all_is_deleted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Two items are queued: the one that plays is truncated, the other is deleted."""
    brain = telling(Say(STORY, ms=2000), Say("The end.", ms=500))
    async with calling(Teller(), brain) as call:
        await until(lambda: call.stage.output.pcm)
        await trio.sleep(1)
        call.say()
        await call.quiet()
        (deleted,) = call.asked("conversation.item.delete")
        (truncated,) = call.asked("conversation.item.truncate")
        assert deleted.event["item_id"] != truncated.event["item_id"]
        texts = [i.text for i in call.session.chat_ctx if isinstance(i, Message)]
        assert "The end." not in texts
        held = call.stage.server.connections[0].conversation.items
        assert [item.id for item in held] == [i.id for i in call.session.chat_ctx]
        assert call.errors == []


@pytest.mark.behaviour("U3")
async def test_what_was_heard_to_its_end_is_left_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nothing is playing when the user speaks: nothing is truncated or deleted."""
    async with calling(Teller(), telling(Say("Hello.", ms=400))) as call:
        await until(lambda: call.stage.output.pcm)
        await trio.sleep(2)
        call.say()
        await call.quiet()
        assert call.asked("conversation.item.truncate") == []
        assert call.asked("conversation.item.delete") == []
        assert call.message("Hello.").heard_ms is None


@pytest.mark.behaviour("R9", "U3")
async def test_a_reply_that_the_user_interrupts_says_what_was_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is no error: "interrupted", the milliseconds heard and the words heard."""
    agent = Teller()
    settings = Settings(pace=Pace(burst=1.0))
    async with calling(agent, telling(Say(STORY, ms=3000)), settings=settings) as call:
        await until(lambda: call.stage.output.pcm)
        await trio.sleep(1)
        call.say()
        await call.quiet()
        assert agent.outcome is not None
        assert agent.outcome.outcome == "interrupted"
        assert agent.outcome.heard_ms is not None
        heard = len(call.stage.output.runs[0].pcm) // 48
        assert agent.outcome.heard_ms == pytest.approx(heard, abs=20)
        assert agent.outcome.text
        assert STORY.startswith(agent.outcome.text)
        assert agent.outcome.text == call.message(STORY).text


@pytest.mark.behaviour("U3")
@pytest.mark.parametrize("lead", [0.0, 0.02, 0.04, 0.06, 0.08])
async def test_a_reply_asked_for_while_the_user_begins_to_speak_is_not_heard(
    autojump_clock: trio.testing.MockClock, lead: float
) -> None:
    """The request and the voice cross: nobody talks over the user, who is answered."""

    class Late(Teller):
        async def on_enter(self, ctx: RunContext) -> None:
            await trio.sleep(1)
            await super().on_enter(ctx)

    agent = Late()
    network = Network(one_way=0.03)
    brain = telling(Say(STORY, ms=3000))
    async with calling(agent, brain, network=network) as call:
        await trio.sleep(1 - lead)
        _, ends = call.say()
        await call.quiet()
        noticed = call.stage.of(UserStartedSpeaking)
        assert len(noticed) == 1
        early = [run for run in call.stage.output.runs if run.time < ends]
        assert sum(len(run.pcm) for run in early) / 48_000 < 0.1
        assert call.message(REPLY).heard_ms is None
        assert agent.outcome is not None


@pytest.mark.behaviour("U3")
async def test_the_old_agents_words_are_cut_after_the_handoff_as_well(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Playout is one queue: the old agent falls silent, the new one was not heard."""

    class Leaver(Teller):
        @function_tool
        async def leave(self, ctx: RunContext) -> Agent:
            """Leave."""
            return Weather()

    brain = telling(Say(STORY, ms=3000), Call("leave"))
    fixed = {"capabilities": {"mutable_instructions": False}}
    async with calling(Leaver(), brain, model=fixed) as call:
        await until(lambda: len(call.stage.server.connections) == 2)
        await trio.sleep(1)
        call.say()
        await call.quiet()
        told, answered = call.stage.output.runs
        assert told.end - told.time < 2
        assert len(answered.pcm) // 48 == 500
        story = call.message(STORY)
        assert story.heard_ms == pytest.approx(len(told.pcm) // 48, abs=20)
        assert call.errors == []
        held = call.stage.server.connections[1].conversation.items
        assert [item.id for item in held] == [i.id for i in call.session.chat_ctx]


@pytest.mark.behaviour("H10")
async def test_speech_cut_by_the_user_does_not_cut_the_handoff_it_announced(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The tool returned its agent before the user spoke: the agent takes over."""

    class Leaver(Teller):
        @function_tool
        async def leave(self, ctx: RunContext) -> Agent:
            """Leave."""
            return Greeter()

    brain = telling(Call("leave"), Say(STORY, ms=3000), Pause(3))
    settings = Settings(pace=Pace(burst=1.0))
    async with calling(Leaver(), brain, settings=settings) as call:
        await until(lambda: call.stage.output.pcm)
        await trio.sleep(1)
        assert not call.stage.of(HandoffStarted)
        call.say()
        await until(lambda: call.stage.of(HandoffStarted))
        await call.quiet()
        assert isinstance(call.session.agent, Greeter)
        (output,) = (
            item
            for item in call.session.chat_ctx
            if isinstance(item, FunctionCallOutput)
        )
        assert output.output == "transferred to Greeter"
        assert call.message(STORY).heard_ms is not None
        assert [under for under in call.stage.heard_under() if "Kelly" in under]


# --- the connection is lost while the user speaks ----------------------------------


MOMENTS = {
    "before it was noticed": close(1011, after="input_audio_buffer.append", nth=101),
    "in its midst": close(1011, after="input_audio_buffer.append", nth=120),
    "in the silence behind it": close(1011, after="input_audio_buffer.append", nth=150),
    "when noticed": close(1011, after="input_audio_buffer.speech_started"),
    "before it was taken": close(1011, before="input_audio_buffer.committed"),
    "when it was taken": close(1011, after="input_audio_buffer.committed"),
    "before its answer": close(1011, before="response.created", nth=2),
    "when its answer began": close(1011, after="response.created", nth=2),
}


TAKEN = ("when it was taken", "before its answer", "when its answer began")


@pytest.mark.behaviour("C2", "H5")
@pytest.mark.parametrize("one_way", [0.0, 0.03])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_sentence_survives_the_loss_of_its_connection(
    autojump_clock: trio.testing.MockClock, moment: str, one_way: float
) -> None:
    """Whole on the next connection, answered once, and once in the record."""
    faults = [attrs.evolve(MOMENTS[moment], connection=0)]
    options: dict[str, Any] = {
        "network": Network(one_way=one_way),
        "faults": faults,
    }
    brain = telling(Say("Hello.", ms=300))
    async with calling(Teller(), brain, **options) as call:
        await trio.sleep(2)
        pcm, ends = call.say(0.8)
        await call.quiet()
        first, second = call.stage.server.connections
        assert first.close_code == 1011
        taken = {one.item_id: one.pcm for one in second.committed}
        for held in second.conversation.items:
            if held.pcm and getattr(held.item, "role", "") == "user":
                taken.setdefault(held.id, bytes(held.pcm))
        assert [audio.count(pcm) for audio in taken.values() if any(audio)] == [1]
        said = [i for i in call.session.chat_ctx if isinstance(i, Message)]
        assert [item.role for item in said] == ["assistant", "user", "assistant"]
        # The words of a turn that the lost server had taken went with it; the next one
        # is given the sound.
        words = "" if moment in TAKEN else WORDS
        assert [item.text for item in said] == ["Hello.", words, REPLY]
        assert [i.id for i in call.session.chat_ctx] == [
            held.id for held in second.conversation.items
        ]
        answer = call.stage.output.runs[-1]
        assert len(answer.pcm) // 48 == 500
        assert answer.time < ends + 3
