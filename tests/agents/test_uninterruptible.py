"""Speech that stays while the user talks, where the client decides what stops (U4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
import trio

from stage import Greeter, Line, Stage, model_of, on_stage, running, until
from trialogue import (
    Agent,
    ConfigurationError,
    Message,
    ReplyOutcome,
    RunContext,
    SemanticVAD,
    ServerVAD,
    SessionOptions,
    open_session,
)
from trialogue.events import UserStartedSpeaking
from trialogue.testing import Network, Pace, RealtimeServer, Say, Settings, Turn

if TYPE_CHECKING:
    from trialogue import TurnDetection

NOTICE = "This call is recorded, and by going on you agree to that."
LONG = "Read the notice slowly."
STORY = "Once upon a time there was a very long story that nobody wants to hear."
ANSWER = "Fine."
CLIENT = ServerVAD(interrupt_response=False)
WITHOUT_ANSWERS = ServerVAD(interrupt_response=False, create_response=False)


class Reader(Agent):
    """Reads a notice as it enters, whatever the user does."""

    instructions = "You read notices."

    def __init__(
        self, prompt: str = "Read the notice.", *, allow_interruptions: bool = False
    ) -> None:
        super().__init__()
        self.prompt = prompt
        self.allow_interruptions = allow_interruptions
        self.outcome: ReplyOutcome | None = None

    async def on_enter(self, ctx: RunContext) -> None:
        self.outcome = await ctx.session.generate_reply(
            instructions=self.prompt,
            allow_interruptions=self.allow_interruptions,
        )


def reading(turn: Turn) -> Any:
    if "the notice" in (turn.override or ""):
        return Say(NOTICE, ms=8000 if LONG in (turn.override or "") else 3000)
    if "story" in (turn.override or ""):
        return Say(STORY, ms=3000)
    return Say(ANSWER, ms=500)


def options_of(detection: TurnDetection | None) -> dict[str, Any]:
    return {"options": SessionOptions(turn_detection=detection)}


def spoken(stage: Stage) -> list[tuple[str, int | None]]:
    """Return what agents said, with how much of it was heard if it was cut."""
    return [
        (item.text, item.heard_ms)
        for item in stage.session.chat_ctx
        if isinstance(item, Message) and item.role == "assistant"
    ]


def milliseconds(stage: Stage) -> list[int]:
    """Return how much of each item was played, in order."""
    marks = [mark.item for mark, *_ in stage.server.heard(stage.output.pcm)]
    return [10 * marks.count(item) for item in dict.fromkeys(marks)]


async def talked_over(
    agent: Reader,
    detection: TurnDetection,
    *,
    settings: Settings | None = None,
    network: Network | None = None,
    **session: Any,
) -> Stage:
    """Speak while the agent reads; return when all has been said."""
    server: dict[str, Any] = {
        "settings": settings or Settings(),
        "network": network or Network(),
    }
    async with (
        on_stage(
            reading,
            microphone=True,
            model=options_of(detection),
            server=server,
            **session,
        ) as stage,
        trio.open_nursery() as nursery,
    ):
        assert stage.microphone is not None
        line = Line(stage.microphone)
        nursery.start_soon(line.run)
        with trio.fail_after(60):
            async with running(stage, agent):
                await until(lambda: stage.output.pcm)
                await trio.sleep(1)
                line.say(stage.server.utterances.say("hold on", ms=600))
                await until(lambda: stage.of(UserStartedSpeaking))
                await trio.sleep(12)
                assert not any(stage.session.realtime.open_work.values())
        nursery.cancel_scope.cancel()
    return stage


@pytest.mark.behaviour("U4")
@pytest.mark.parametrize("pace", [Pace(), Pace(burst=1.0)], ids=["sent", "being made"])
async def test_it_stays_while_the_user_talks_who_is_answered_afterwards(
    autojump_clock: trio.testing.MockClock, pace: Pace
) -> None:
    """Every sample is heard once and in order, nothing is truncated or cancelled."""
    agent = Reader()
    stage = await talked_over(
        agent, CLIENT, settings=Settings(pace=pace), barge_in="client"
    )
    assert milliseconds(stage) == [3000, 500]
    seqs = [mark.seq for mark, *_ in stage.server.heard(stage.output.pcm)]
    assert seqs == [*range(300), *range(50)]
    assert stage.sent("conversation.item.truncate") == []
    assert stage.sent("response.cancel") == []
    assert sorted(spoken(stage)) == sorted([(NOTICE, None), (ANSWER, None)])
    assert agent.outcome is not None
    assert agent.outcome.outcome == "completed"


@pytest.mark.behaviour("U4", "U3")
@pytest.mark.parametrize("pace", [Pace(), Pace(burst=1.0)], ids=["sent", "being made"])
async def test_all_other_speech_stops_for_the_voice_where_the_client_sees_to_it(
    autojump_clock: trio.testing.MockClock, pace: Pace
) -> None:
    """At once, truncated at what was heard, and cancelled if it is still being made."""
    agent = Reader(allow_interruptions=True)
    stage = await talked_over(
        agent, CLIENT, settings=Settings(pace=pace), barge_in="client"
    )
    heard, answer = milliseconds(stage)
    assert 900 < heard < 1400
    assert answer == 500
    (truncate,) = stage.sent("conversation.item.truncate")
    assert truncate.event["audio_end_ms"] == pytest.approx(heard, abs=20)
    assert len(stage.sent("response.cancel")) == (pace.burst == 1.0)
    assert [ms for _, ms in spoken(stage)] == [truncate.event["audio_end_ms"], None]
    assert agent.outcome is not None
    if pace.burst == 1.0:
        assert agent.outcome.outcome == "interrupted"
        assert agent.outcome.heard_ms == truncate.event["audio_end_ms"]


async def test_without_it_the_voice_stops_nothing_where_the_provider_does_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`interrupt_response=False` alone means what it says."""
    stage = await talked_over(Reader(allow_interruptions=True), CLIENT)
    assert milliseconds(stage) == [3000, 500]


@pytest.mark.behaviour("U4")
async def test_what_is_queued_behind_it_is_cut_and_it_plays_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Both are in the loudspeaker's queue: only the one that may stop does."""

    class Both(Reader):
        async def on_enter(self, ctx: RunContext) -> None:
            await super().on_enter(ctx)
            await ctx.session.generate_reply(instructions="Tell a story.")

    stage = await talked_over(Both(), CLIENT, barge_in="client")
    assert milliseconds(stage) == [3000, 500]
    assert sorted(spoken(stage)) == sorted([(NOTICE, None), (ANSWER, None)])
    assert len(stage.sent("conversation.item.delete")) == 1


@pytest.mark.behaviour("U4")
async def test_a_request_to_interrupt_spares_it_unless_it_is_forced(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage(reading, model=options_of(None)) as stage:
        agent = Reader()
        async with running(stage, agent):
            await until(lambda: stage.output.pcm)
            await trio.sleep(1)
            stage.session.interrupt()
            await trio.sleep(0.5)
            assert stage.session.chat_ctx.items[0].heard_ms is None  # type: ignore[union-attr]
            stage.session.interrupt(force=True)
            await trio.sleep(3)
            assert milliseconds(stage) == [pytest.approx(1500, abs=20)]
            (truncate,) = stage.sent("conversation.item.truncate")
            assert truncate.event["audio_end_ms"] == pytest.approx(1500, abs=20)


@pytest.mark.behaviour("U4")
@pytest.mark.parametrize("detection", [None, ServerVAD(), SemanticVAD()])
async def test_asking_for_it_is_refused_where_the_provider_interrupts(
    autojump_clock: trio.testing.MockClock, detection: TurnDetection | None
) -> None:
    """Typed, with the remedy, before anything is sent; an agent's options count."""
    refused: list[str] = []

    class Refused(Greeter):
        options = (
            None if detection is None else SessionOptions(turn_detection=detection)
        )

        async def on_enter(self, ctx: RunContext) -> None:
            with pytest.raises(ConfigurationError) as caught:
                await ctx.session.generate_reply(allow_interruptions=False)
            refused.append(str(caught.value))
            with pytest.raises(ConfigurationError):
                async with ctx.session.open_reply(allow_interruptions=False):
                    pass

    async with on_stage(reading) as stage, running(stage, Refused()):
        await until(lambda: refused)
        await trio.sleep(1)
        assert "ServerVAD(interrupt_response=False)" in refused[0]
        assert stage.sent("response.create") == []
        assert stage.session.realtime.open_work["queued"] == 0


@pytest.mark.behaviour("U4")
async def test_it_is_refused_in_a_session_without_agents_as_well(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        RealtimeServer(reading).serving() as server,
        open_session(model_of(server)) as session,
    ):
        with pytest.raises(ConfigurationError, match="interrupt_response=False"):
            await session.generate_reply(allow_interruptions=False)
        await session.update_options(SessionOptions(turn_detection=CLIENT))
        outcome = await session.generate_reply(allow_interruptions=False)
        assert outcome.outcome == "completed"


@pytest.mark.behaviour("U4")
async def test_a_reply_that_crosses_the_users_first_words_stays_as_well(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Asked for when nobody spoke, begun when the user did."""

    class Late(Reader):
        async def on_enter(self, ctx: RunContext) -> None:
            await until(lambda: ctx.session.realtime.listening.speaking)
            await super().on_enter(ctx)

    async with (
        on_stage(
            reading,
            microphone=True,
            model=options_of(WITHOUT_ANSWERS),
            barge_in="client",
        ) as stage,
        trio.open_nursery() as nursery,
    ):
        assert stage.microphone is not None
        line = Line(stage.microphone)
        nursery.start_soon(line.run)
        async with running(stage, Late()):
            line.say(stage.server.utterances.say("hold on", ms=1500))
            await trio.sleep(8)
            assert milliseconds(stage) == [3000]
        nursery.cancel_scope.cancel()


@pytest.mark.behaviour("U4", "R1")
@pytest.mark.parametrize("when_busy", ["skip", "queue"])
async def test_a_turn_within_long_speech_is_answered_once_after_it(
    autojump_clock: trio.testing.MockClock, when_busy: Literal["skip", "queue"]
) -> None:
    """The provider passes the turn over, or answers just when we ask it to."""
    settings = Settings(pace=Pace(burst=1.0), when_busy=when_busy)
    network = Network(one_way=0.03)
    stage = await talked_over(
        Reader(LONG), CLIENT, barge_in="client", settings=settings, network=network
    )
    assert milliseconds(stage) == [8000, 500]
    assert len(stage.server.connections[0].responses) == 2
