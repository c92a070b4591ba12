"""Speech and the loudspeaker: what was really played, and what a slow one slows."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from stage import (
    PROMPT,
    Greeter,
    Line,
    Prompted,
    Weather,
    collecting,
    model_of,
    on_stage,
    outputs,
    prompted,
    running,
    transferring_brain,
    until,
)
from trialogue import (
    Agent,
    Message,
    ReplyOutcome,
    RunContext,
    SessionOptions,
    function_tool,
    open_agent_session,
)
from trialogue.agents.session import AgentSession
from trialogue.audio import MemoryInput
from trialogue.events import (
    AgentStateChanged,
    AgentTranscript,
    HandoffCompleted,
    ToolFinished,
    UserStartedSpeaking,
)
from trialogue.realtime.signal import Signal
from trialogue.testing import Call, Pace, RealtimeServer, Say, Settings, Turn, close

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STORY = "Once upon a time there was a very long story that nobody wants to hear."


class Device:
    """A loudspeaker of its own pace, 20 ms at a time; it says what it has played.

    Args:
        speed: how fast it plays, 1 being right; 0 never plays anything.
    """

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self.sound = bytearray()
        self._buffer = bytearray()
        self._clears = 0
        self._signal = Signal()
        self._closed = False

    async def play(self) -> None:
        while self.speed:
            await trio.sleep(0.02 / self.speed)
            self.sound += self._buffer[:960]
            del self._buffer[:960]
            self._signal.pulse()
        await trio.sleep_forever()

    @property
    def written(self) -> int:
        return (len(self.sound) + len(self._buffer)) // 2

    @property
    def played(self) -> int:
        return len(self.sound) // 2

    async def write(self, pcm: bytes) -> None:
        clears = self._clears
        await trio.lowlevel.checkpoint()
        room = 9600  # 200 ms
        await self._signal.until(
            lambda: len(self._buffer) < room or clears != self._clears or self._closed
        )
        if clears == self._clears:
            self._buffer += pcm

    def clear(self) -> None:
        self._buffer.clear()
        self._clears += 1
        self._signal.pulse()

    async def wait_played(self, position: int) -> None:
        clears = self._clears
        await trio.lowlevel.checkpoint()
        await self._signal.until(
            lambda: self.played >= position or clears != self._clears or self._closed
        )

    async def drain(self) -> None:
        await self.wait_played(self.written)

    async def aclose(self) -> None:
        self._closed = True
        self._signal.pulse()
        await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class Scene:
    server: RealtimeServer
    session: AgentSession
    device: Device
    line: Line
    events: list[Any]

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def through(
    device: Device, agent: Agent, brain: Any, **server: Any
) -> AsyncIterator[Scene]:
    """Run an agent that is heard through a device of the test's own."""
    microphone = MemoryInput()
    line = Line(microphone)
    async with (
        RealtimeServer(brain, **server).serving() as serving,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(device.play)
        nursery.start_soon(line.run)
        async with (
            open_agent_session(
                model_of(serving), audio=(microphone, device)
            ) as session,
            collecting(session) as events,
        ):
            with trio.fail_after(120):  # noqa: ASYNC100 - it bounds the caller's block
                async with trio.open_nursery() as conversation:
                    conversation.start_soon(session.run, agent)
                    yield Scene(serving, session, device, line, events)
                    session.end(now=True)
        nursery.cancel_scope.cancel()


# --- what was really played -----------------------------------------------------------


@pytest.mark.behaviour("A3", "U3")
@pytest.mark.parametrize("speed", [0.5, 0.8, 1.0])
async def test_speech_is_truncated_at_what_the_loudspeaker_says_it_has_played(
    autojump_clock: trio.testing.MockClock, speed: float
) -> None:
    """One that is slow, or late, has played less than the time that passed."""
    device = Device(speed)
    agent = Prompted()
    async with through(device, agent, prompted(Say(STORY, ms=4000))) as scene:
        await until(lambda: device.played)
        await trio.sleep(2)
        scene.line.say(scene.server.utterances.say("stop that please", ms=600))
        await until(lambda: scene.of(UserStartedSpeaking))
        heard = device.played * 1000 // 24_000
        await trio.sleep(3)
        (server,) = scene.server.connections
        (truncate,) = server.find("conversation.item.truncate", "in")
        assert truncate.event["audio_end_ms"] == pytest.approx(heard, abs=20)
        assert heard < 2600 * speed
        story = scene.session.chat_ctx.items[0]
        assert isinstance(story, Message)
        assert story.heard_ms == truncate.event["audio_end_ms"]


@pytest.mark.behaviour("A3", "U3")
async def test_of_what_a_loudspeaker_never_played_nothing_was_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """All of it was written and sent; it is deleted, and the state was never speech."""
    device = Device(0)
    async with through(device, Prompted(), prompted(Say(STORY, ms=400))) as scene:
        await trio.sleep(5)
        assert scene.session.agent_state == "thinking"
        scene.line.say(scene.server.utterances.say("are you there", ms=600))
        await until(lambda: scene.of(UserStartedSpeaking))
        await trio.sleep(3)
        (server,) = scene.server.connections
        assert len(server.find("conversation.item.delete", "in")) == 1
        assert server.find("conversation.item.truncate", "in") == []
        texts = [i.text for i in scene.session.chat_ctx if isinstance(i, Message)]
        assert STORY not in texts
        assert "speaking" not in [e.new for e in scene.of(AgentStateChanged)]


@pytest.mark.behaviour("A4")
@pytest.mark.parametrize("speed", [0, 0.1])
async def test_a_slow_loudspeaker_slows_no_handoff_no_tool_and_no_listening(
    autojump_clock: trio.testing.MockClock, speed: float
) -> None:
    """Everything else happens when it would have happened; only the sound is late."""

    class Caller(Greeter):
        async def on_enter(self, ctx: RunContext) -> None:
            await ctx.session.generate_reply(instructions="Please transfer.")

    def brain(turn: Turn) -> Any:
        if "Please transfer" in (turn.override or "") and turn.output is None:
            return [Say("One moment, please.", ms=2000), Call("transfer_to_weather")]
        return transferring_brain(turn)

    times: list[dict[str, float]] = []
    for pace in (1.0, speed):
        device = Device(pace)
        async with through(device, Caller(), brain) as scene:
            began = trio.current_time()
            seen: dict[str, float] = {}
            for kind in (ToolFinished, HandoffCompleted, UserStartedSpeaking):
                if kind is UserStartedSpeaking:
                    at = began + 1
                    scene.line.say(scene.server.utterances.say("well", ms=400), at)
                await until(lambda kind=kind: scene.of(kind))
                seen[kind.__name__] = trio.current_time() - began
            times.append(seen)
    right, slow = times
    assert slow == pytest.approx(right, abs=0.011)


# --- waiting for it ------------------------------------------------------------


class Careful(Prompted):
    """Acts only when what it announced has been heard."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[bool, float]] = []

    @function_tool
    async def erase(self, ctx: RunContext) -> str:
        """Erase everything."""
        whole = await ctx.wait_for_playout()
        self.heard.append((whole, trio.current_time()))
        return "erased" if whole else "not confirmed"


@pytest.mark.behaviour("T9", "U3")
async def test_a_tool_waits_until_what_was_said_with_its_call_was_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """To the last sample, and no longer; the words before the call are meant."""
    agent = Careful()
    brain = prompted(Say("I erase everything now.", ms=3000), Call("erase"))
    async with on_stage(brain) as stage, running(stage, agent):
        await until(lambda: outputs(stage))
        (run, *_) = stage.output.runs
        ((whole, at),) = agent.heard
        assert whole
        assert at == pytest.approx(run.time + 3, abs=0.001)
        assert [output for _, output in outputs(stage)] == ["erased"]


@pytest.mark.behaviour("T9", "U3")
async def test_a_tool_is_told_that_the_user_cut_it_short(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = Careful()
    brain = prompted(Say("I erase everything now.", ms=3000), Call("erase"))
    async with (
        on_stage(brain, microphone=True) as stage,
        trio.open_nursery() as nursery,
    ):
        assert stage.microphone is not None
        line = Line(stage.microphone)
        nursery.start_soon(line.run)
        async with running(stage, agent):
            await until(lambda: stage.output.pcm)
            await trio.sleep(1)
            line.say(stage.server.utterances.say("no please don't", ms=600))
            await until(lambda: outputs(stage))
            assert [whole for whole, _ in agent.heard] == [False]
            assert [output for _, output in outputs(stage)] == ["not confirmed"]
        nursery.cancel_scope.cancel()


async def test_a_call_without_words_has_nothing_to_wait_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = Careful()
    async with on_stage(prompted(Call("erase"))) as stage, running(stage, agent):
        began = trio.current_time()
        await until(lambda: outputs(stage))
        ((whole, at),) = agent.heard
        assert whole
        assert at < began + 1


async def test_a_hook_and_the_program_wait_for_everything_that_was_said(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Also through a gap, in which more of a reply is on its way, and to its end."""
    ended: list[tuple[bool, float]] = []

    class Waiting(Prompted):
        async def on_enter(self, ctx: RunContext) -> None:
            await super().on_enter(ctx)
            ended.append((await ctx.wait_for_playout(), trio.current_time()))

    settings = Settings(pace=Pace(burst=0.5))
    brain = prompted(Say("Slowly does it.", ms=1000))
    async with (
        on_stage(brain, server={"settings": settings}) as stage,
        running(stage, Waiting()),
    ):
        await until(lambda: stage.output.pcm)
        await trio.sleep(0.3)
        whole = await stage.session.wait_for_playout()
        assert whole
        last = stage.output.runs[-1].end
        assert len(stage.output.pcm) // 48 == 1000
        assert last <= trio.current_time() <= last + 0.15  # its end is told last
        await until(lambda: ended)
        ((also, at),) = ended
        assert also
        assert at == pytest.approx(trio.current_time(), abs=0.01)


async def test_whoever_waits_is_let_go_when_the_block_is_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A task outside of it does not wait for sound that nobody plays any more."""
    told: list[bool] = []

    async with trio.open_nursery() as nursery:
        with trio.fail_after(30):
            async with on_stage(prompted(Say(STORY, ms=9000))) as stage:

                async def wait() -> None:
                    told.append(await stage.session.wait_for_playout())

                with trio.move_on_after(2):
                    await stage.session.run(Agent("You are Mo."))
                await stage.session.realtime.generate_reply(instructions=PROMPT)
                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
    assert told == [False]


# --- written words ------------------------------------------------------------

WRITTEN = SessionOptions(output_modalities=("text",))


@pytest.mark.behaviour("H1")
async def test_an_agent_that_writes_is_read_while_it_writes_and_needs_no_devices(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Asked in writing; no sound is made, and the words come as events, in pieces."""
    agent = Agent("You are Kelly, and you write.", options=WRITTEN)

    def brain(turn: Turn) -> Any:
        return Say(f"You wrote, and I quote: {turn.user_text}")

    async with (
        RealtimeServer(brain).serving() as server,
        open_agent_session(model_of(server)) as session,
        collecting(session) as events,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(session.run, agent)
        with trio.fail_after(60):
            for words in ("Hello?", "And again."):
                assert (await session.send_message(words)).ok
                outcome = await session.generate_reply()
                assert outcome.text == f"You wrote, and I quote: {words}"
            assert await session.wait_for_playout()
            await trio.sleep(1)
            pieces = [e.text for e in events if isinstance(e, AgentTranscript)]
            assert len(pieces) > 4
            assert "".join(pieces) == (
                "You wrote, and I quote: Hello?You wrote, and I quote: And again."
            )
            kinds = {entry.type for entry in server.connections[0].entries}
            assert "response.output_audio.delta" not in kinds
            states = [e.new for e in events if isinstance(e, AgentStateChanged)]
            assert states == ["listening", *2 * ("thinking", "listening")]
            session.end()


@pytest.mark.behaviour("U3")
async def test_what_an_agent_writes_can_be_interrupted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What was read of it stays; the reply ends as "interrupted"."""
    ended: list[ReplyOutcome] = []

    class Writer(Agent):
        instructions = "You are Kelly, and you write."
        options = WRITTEN

        async def on_enter(self, ctx: RunContext) -> None:
            ended.append(await ctx.session.generate_reply())

    settings = Settings(pace=Pace(burst=0.5))
    async with (
        on_stage(prompted(then=STORY), server={"settings": settings}) as stage,
        running(stage, Writer()),
    ):
        await until(lambda: len(stage.of(AgentTranscript)) > 2)
        read = "".join(event.text for event in stage.of(AgentTranscript))
        stage.session.interrupt()
        await until(lambda: ended)
        await trio.sleep(2)
        assert ended[0].outcome == "interrupted"
        assert stage.sent("conversation.item.delete") == []
        assert stage.sent("conversation.item.truncate") == []
        (message,) = stage.session.chat_ctx.items
        assert isinstance(message, Message)
        assert message.text.startswith(read)
        assert "".join(e.text for e in stage.of(AgentTranscript)) == read


async def test_a_speaking_agent_takes_over_from_one_that_writes_and_hands_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The modality is an option like any other: each handoff brings its agent's."""
    writer = Agent("You are Kelly, and you write.", options=WRITTEN)
    async with on_stage() as stage, running(stage, writer):
        await until(lambda: stage.session.realtime.settled)
        await stage.session.generate_reply()
        assert stage.output.pcm == b""
        await stage.session.handoff(Weather())
        await until(lambda: stage.output.pcm)
        await stage.session.wait_for_playout()
        heard = len(stage.output.pcm)
        await stage.session.handoff(writer)
        await stage.session.generate_reply()
        assert len(stage.output.pcm) == heard


@pytest.mark.behaviour("C2", "R9")
async def test_words_that_were_read_are_not_written_again_after_a_loss(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The reply is "lost" with what had come; the reader sees nothing twice."""
    ended: list[ReplyOutcome] = []

    class Writer(Agent):
        instructions = "You are Kelly, and you write."
        options = WRITTEN

        async def on_enter(self, ctx: RunContext) -> None:
            ended.append(await ctx.session.generate_reply())

    faults = [close(1011, after="response.output_text.delta", nth=3)]
    async with (
        on_stage(prompted(then=STORY), server={"faults": faults}) as stage,
        running(stage, Writer()),
    ):
        await until(lambda: ended)
        await trio.sleep(3)
        assert ended[0].outcome == "lost"
        read = "".join(event.text for event in stage.of(AgentTranscript))
        assert STORY.startswith(read)
        assert ended[0].text == read
