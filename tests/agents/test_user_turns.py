"""Turns that the program finds: push to talk with agents, and a microphone's switch."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import Greeter, Line, Stage, on_stage, running, until
from trialogue import (
    Agent,
    ConfigurationError,
    Handoff,
    Message,
    RunContext,
    ServerError,
    ServerVAD,
    SessionClosed,
    SessionOptions,
)
from trialogue.events import UserStartedSpeaking, UserStateChanged, UserTranscript
from trialogue.testing import (
    Network,
    Pace,
    Say,
    Settings,
    Turn,
    close,
    reject,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MANUAL = {"options": SessionOptions(turn_detection=None)}
STORY = "Once upon a time there was a very long story that nobody wants to hear."


def repeating(turn: Turn) -> Any:
    """Tell a story when told to, else say who answers what."""
    if "story" in (turn.override or ""):
        return Say(STORY, ms=4000)
    name = "Sunny" if "Sunny" in turn.instructions else "Kelly"
    return Say(f"{name} heard: {turn.user_text}", ms=600)


class Teller(Greeter):
    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Tell a story.")


@asynccontextmanager
async def pressing(
    agent: Agent, *, muted: bool = True, **server: Any
) -> AsyncIterator[tuple[Stage, Line]]:
    """Run an agent whose microphone is on a line of which nobody else finds turns."""
    async with (
        on_stage(repeating, microphone=True, model=MANUAL, server=server) as stage,
        trio.open_nursery() as nursery,
    ):
        stage.session.muted = muted
        assert stage.microphone is not None
        line = Line(stage.microphone)
        nursery.start_soon(line.run)
        async with running(stage, agent):
            await until(lambda: stage.session.realtime.settled)
            yield stage, line
        nursery.cancel_scope.cancel()


async def held(stage: Stage, line: Line, words: str, ms: int = 600) -> bytes:
    """Hold the button while something is said; return the sound."""
    await stage.session.start_user_turn()
    pcm = stage.server.utterances.say(words, ms=ms)
    await trio.sleep_until(line.say(pcm, trio.current_time() + 0.1) + 0.1)
    return pcm


def turns(stage: Stage) -> list[bytes]:
    """Return the audio of each turn that a server took, silence aside."""
    taken = [
        turn.pcm for server in stage.server.connections for turn in server.committed
    ]
    return [pcm.strip(b"\0") for pcm in taken]


def said(stage: Stage) -> list[str]:
    return [item.text for item in stage.session.chat_ctx if isinstance(item, Message)]


@pytest.mark.behaviour("U6")
@pytest.mark.parametrize("muted", [True, False])
async def test_each_turn_holds_what_was_said_while_the_button_was_held(
    autojump_clock: trio.testing.MockClock, muted: bool
) -> None:
    """What is said in between, and in a turn that is thrown away, is in none."""
    async with pressing(Greeter(), muted=muted) as (stage, line):
        kept = [await held(stage, line, "one")]
        assert (await stage.session.commit_user_turn()).ok
        await trio.sleep(2)
        given = stage.server.connections[0].audio
        before = len(given)
        line.say(stage.server.utterances.say("not for you", ms=500))
        await trio.sleep(2)
        assert (len(stage.server.connections[0].audio) == before) == muted
        kept.append(await held(stage, line, "two", 900))
        await stage.session.commit_user_turn()
        await trio.sleep(3)
        await held(stage, line, "never mind")
        assert (await stage.session.clear_user_turn()).ok
        await trio.sleep(1)
        kept.append(await held(stage, line, "three"))
        await stage.session.commit_user_turn()
        await trio.sleep(3)
        assert turns(stage) == [pcm.strip(b"\0") for pcm in kept]
        answers = [f"Kelly heard: {words}" for words in ("one", "two", "three")]
        assert said(stage)[1::2] == answers
        assert said(stage)[0::2] == ["one", "two", "three"]
        assert not any(stage.session.realtime.open_work.values())


@pytest.mark.behaviour("U6", "U3")
async def test_the_button_stops_what_is_being_said(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """In the step in which it is pressed; truncated at what was heard."""
    settings = Settings(pace=Pace(burst=1.0))
    async with pressing(Teller(), settings=settings) as (stage, line):
        await until(lambda: stage.output.pcm)
        await trio.sleep(1)
        pressed = trio.current_time()
        await held(stage, line, "enough")
        await stage.session.commit_user_turn()
        await trio.sleep(4)
        story, answer = stage.output.runs
        assert story.end <= pressed + 0.001
        (truncate,) = stage.sent("conversation.item.truncate")
        heard = len(story.pcm) // 48
        assert truncate.event["audio_end_ms"] == pytest.approx(heard, abs=20)
        assert len(answer.pcm) // 48 == 600
        assert said(stage)[1:] == ["enough", "Kelly heard: enough"]


@pytest.mark.behaviour("U6", "R3")
async def test_a_button_that_is_only_touched_is_an_error_and_leaves_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nobody answers a turn in which nothing was said."""
    async with pressing(Greeter()) as (stage, line):
        await stage.session.start_user_turn()
        with pytest.raises(ServerError) as caught:
            await stage.session.commit_user_turn()
        assert caught.value.code == "input_audio_buffer_commit_empty"
        await trio.sleep(2)
        assert stage.sent("response.create") == []
        pcm = await held(stage, line, "one")
        await stage.session.commit_user_turn()
        await trio.sleep(2)
        assert turns(stage) == [pcm.strip(b"\0")]


@pytest.mark.behaviour("U6")
async def test_a_turn_may_be_committed_without_an_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with pressing(Greeter()) as (stage, line):
        await held(stage, line, "one")
        await stage.session.commit_user_turn(reply=False)
        await trio.sleep(5)
        assert said(stage) == ["one"]
        outcome = await stage.session.generate_reply()
        assert outcome.text == "Kelly heard: one"


@pytest.mark.behaviour("U6", "U5")
async def test_a_held_button_is_a_user_who_speaks(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """No silence makes a pause of it, and nobody is away who holds it."""
    async with pressing(Greeter()) as (stage, line):
        await stage.session.start_user_turn()
        assert stage.session.user_state == "speaking"
        await trio.sleep(25)
        await stage.session.clear_user_turn()
        assert [e.new for e in stage.of(UserStateChanged)] == ["speaking", "listening"]
        await held(stage, line, "one")
        await stage.session.commit_user_turn()
        assert stage.of(UserStateChanged)[-1] == UserStateChanged(
            "speaking", "listening"
        )


@pytest.mark.behaviour("U6", "H6")
@pytest.mark.parametrize("fresh", [False, True], ids=["reuse", "fresh"])
@pytest.mark.parametrize("lead", [-0.02, 0.0, 0.01, 0.04])
async def test_a_turn_committed_around_a_handoff_is_answered_once(
    autojump_clock: trio.testing.MockClock, lead: float, fresh: bool
) -> None:
    """By whoever is current when the answer can be made, on whatever connection."""
    model = MANUAL | (
        {"capabilities": {"mutable_instructions": False}} if fresh else {}
    )
    network = Network(one_way=0.03)
    silent = Agent("You are Sunny, and wait.")
    async with (
        on_stage(
            repeating, microphone=True, model=model, server={"network": network}
        ) as stage,
        trio.open_nursery() as nursery,
    ):
        assert stage.microphone is not None
        stage.session.muted = True
        line = Line(stage.microphone)
        nursery.start_soon(line.run)
        async with running(stage, Greeter()):
            await until(lambda: stage.session.realtime.settled)
            pcm = await held(stage, line, "one")
            nursery.start_soon(stage.session.handoff, Handoff(silent, reply="none"))
            await trio.sleep(max(0.0, lead))
            report = await stage.session.commit_user_turn()
            assert report.ok
            await trio.sleep(6)
            assert len(turns(stage)) in {1, 2}  # the lost connection's may be one more
            assert turns(stage)[-1] == pcm.strip(b"\0")
            answers = [text for text in said(stage) if " heard: " in text]
            assert answers in (["Sunny heard: one"], ["Kelly heard: one"])
            assert said(stage).count("one") == 1
            heard = {mark.item for mark, *_ in stage.server.heard(stage.output.pcm)}
            assert len(heard) == 1
        nursery.cancel_scope.cancel()


@pytest.mark.behaviour("U6", "C2")
@pytest.mark.parametrize(
    "fault",
    [
        close(1011, after="input_audio_buffer.append", nth=20, connection=0),
        close(1011, before="input_audio_buffer.committed", connection=0),
        close(1011, after="input_audio_buffer.committed", connection=0),
        close(1011, after="response.created", connection=0),
    ],
    ids=["while held", "before it was taken", "when it was taken", "when answered"],
)
async def test_a_turn_survives_the_loss_of_its_connection(
    autojump_clock: trio.testing.MockClock, fault: Any
) -> None:
    """The next connection is given it whole, and answers it once."""
    network = Network(one_way=0.03)
    async with pressing(Greeter(), faults=[fault], network=network) as (stage, line):
        pcm = await held(stage, line, "one")
        report = await stage.session.commit_user_turn()
        assert report.ok
        await trio.sleep(8)
        last = stage.server.connections[-1]
        assert len(stage.server.connections) == 2
        given = [
            bytes(held.pcm).strip(b"\0")
            for held in last.conversation.items
            if held.pcm and getattr(held.item, "role", "") == "user"
        ]
        assert given == [pcm.strip(b"\0")] or "one" in said(stage)
        assert len([t for t in said(stage) if t.startswith("Kelly heard")]) == 1
        assert not any(stage.session.realtime.open_work.values())


async def test_a_refused_commit_raises_in_its_caller(
    autojump_clock: trio.testing.MockClock,
) -> None:
    faults = [reject("input_audio_buffer.commit", code="server_error")]
    async with pressing(Greeter(), faults=faults) as (stage, line):
        await held(stage, line, "one")
        with pytest.raises(ServerError) as caught:
            await stage.session.commit_user_turn()
        assert caught.value.code == "server_error"
        await trio.sleep(2)
        assert stage.sent("response.create") == []


@pytest.mark.behaviour("U6")
async def test_it_is_refused_where_the_provider_finds_the_turns(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Typed, with the remedy; nothing is sent, and nothing stays half done."""
    async with on_stage(repeating) as stage, running(stage, Greeter()):
        await until(lambda: stage.session.realtime.settled)
        for act in (
            stage.session.start_user_turn,
            stage.session.commit_user_turn,
            stage.session.clear_user_turn,
        ):
            with pytest.raises(ConfigurationError, match="turn_detection=None"):
                await act()
        assert stage.session.user_state == "listening"
        assert stage.sent("input_audio_buffer.commit") == []
        assert stage.sent("input_audio_buffer.clear") == []
    with pytest.raises(SessionClosed):
        await stage.session.start_user_turn()


async def test_a_muted_microphone_is_silent_and_an_open_turn_ends_in_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Where the provider finds the turns it would else wait for ever."""
    options = {"options": SessionOptions(turn_detection=ServerVAD())}
    async with (
        on_stage(repeating, microphone=True, model=options) as stage,
        trio.open_nursery() as nursery,
    ):
        assert stage.microphone is not None
        line = Line(stage.microphone)
        nursery.start_soon(line.run)
        async with running(stage, Greeter()):
            await until(lambda: stage.session.realtime.settled)
            line.say(stage.server.utterances.say("one", ms=5000))
            await until(lambda: stage.of(UserStartedSpeaking))
            stage.session.muted = True
            assert stage.session.muted
            await trio.sleep(3)
            assert len([t for t in said(stage) if t.startswith("Kelly heard")]) == 1
            stage.session.muted = False
            await trio.sleep(10)
            assert len(stage.of(UserStartedSpeaking)) == 2
        nursery.cancel_scope.cancel()


@pytest.mark.behaviour("U1", "U2")
@pytest.mark.parametrize("delay", [0, 300, 2500])
async def test_a_turn_has_one_final_transcript_and_its_place_however_late(
    autojump_clock: trio.testing.MockClock, delay: int
) -> None:
    """Interim words come before it, if any; the answer may well come first."""
    settings = Settings(pace=Pace(transcript_ms=(delay,)))
    async with (
        on_stage(repeating, microphone=True, server={"settings": settings}) as stage,
        trio.open_nursery() as nursery,
    ):
        assert stage.microphone is not None
        line = Line(stage.microphone)
        nursery.start_soon(line.run)
        async with running(stage, Greeter()):
            await until(lambda: stage.session.realtime.settled)
            for words in ("good morning to you", "and good night"):
                line.say(stage.server.utterances.say(words, ms=800))
                await trio.sleep(2.5)
            await trio.sleep(4)
            told = stage.of(UserTranscript)
            for item_id in dict.fromkeys(event.item_id for event in told):
                turn = [event for event in told if event.item_id == item_id]
                assert [event.final for event in turn[-2:]] == [False, True]
                assert sum(event.final for event in turn) == 1
            final = [event.text for event in told if event.final]
            assert sorted(final) == ["and good night", "good morning to you"]
            assert said(stage) == [
                "good morning to you",
                "Kelly heard: good morning to you",
                "and good night",
                "Kelly heard: and good night",
            ]
        nursery.cancel_scope.cancel()


@pytest.mark.behaviour("U6")
async def test_the_conversation_is_not_over_while_the_button_is_held(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The microphone has ended; `run` returns once the turn has been answered."""
    async with on_stage(repeating, microphone=True, model=MANUAL) as stage:
        assert stage.microphone is not None
        microphone = stage.microphone
        over = trio.Event()

        async def converse() -> None:
            await stage.session.run(Greeter())
            over.set()

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(converse)
                await until(lambda: stage.session.realtime.settled)
                await stage.session.start_user_turn()
                pcm = stage.server.utterances.say("one", ms=600)
                microphone.push(pcm)
                microphone.end()
                await trio.sleep(10)
                assert not over.is_set()
                await stage.session.commit_user_turn()
                await over.wait()
        assert turns(stage) == [pcm.strip(b"\0")], "no silence behind it"
        assert said(stage) == ["one", "Kelly heard: one"]
