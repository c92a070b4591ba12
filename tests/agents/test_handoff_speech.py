"""The user speaks while one agent hands over to another."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import attrs
import pytest
import trio

from stage import KELLY, SUNNY, Greeter, Line, Stage, Weather, on_stage, until
from trialogue import Agent, Handoff, RunContext, function_tool
from trialogue.agents.events import HandoffCompleted
from trialogue.conversation.items import Message
from trialogue.testing import (
    Call,
    Network,
    Pace,
    Say,
    Settings,
    Turn,
    Utterances,
    late,
)

MAX = "You are Max, who knows everything."
WORDS = "will it rain in Paris tomorrow"
SPOKEN = 0.8
"""Seconds that the words take."""
COMMIT = 3.0
"""Seconds from the beginning to the decision: when the tool returns."""


class Busy(Greeter):
    """Its tool takes its time before it hands over."""

    def __init__(self, commit_at: float, target: Agent) -> None:
        super().__init__()
        self.commit_at = commit_at
        self.target = target

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Please transfer.")

    @function_tool
    async def transfer_to_weather(self, ctx: RunContext) -> Agent:
        """Transfer to the weather specialist."""
        await trio.sleep_until(self.commit_at)
        return self.target


def talk(turn: Turn) -> Any:
    """Transfers when told to, introduces itself when told to, else answers the user."""
    name = next(n for n in ("Kelly", "Sunny", "Max") if n in turn.instructions)
    if "transfer" in (turn.override or ""):
        return [Say("One moment.", ms=400), Call("transfer_to_weather")]
    if "Introduce" in (turn.override or ""):
        return Say(f"{name} here.", ms=600)
    return Say(f"{name}: {turn.user_text or 'hello'}.", ms=700)


@attrs.define(eq=False)
class Scene:
    """What remains of one conversation, for assertions."""

    stage: Stage
    clip: bytes
    commit_at: float
    spoken_to: float
    one_way: float

    def played(self, instructions: str) -> list[tuple[float, int, int]]:
        """Return (time, item, seq) of each 10 ms that was played under these."""
        return [
            (run.time + mark.position / 24_000, mark.item, mark.seq)
            for run in self.stage.output.runs
            for mark, under, _ in self.stage.server.heard(run.pcm)
            if under == instructions
        ]

    def answers_by(self, instructions: str) -> list[list[int]]:
        """Return the numbers of the 10 ms heard, of each answer of an agent."""
        played = self.played(instructions)
        items = dict.fromkeys(item for _, item, _ in played)
        return [[seq for _, of, seq in played if of == item] for item in items]

    def answers_before_the_commit(self) -> tuple[bool, int]:
        """Return whether the old agent answered, and how often it had begun to."""
        begun = [
            record
            for connection in self.stage.server.connections
            for record in connection.responses
            if record.instructions == KELLY
            and record.created + self.one_way <= self.commit_at
        ]
        return any(record.status == "completed" for record in begun), len(begun)

    def taken(self, connection: int) -> list[bytes]:
        """Return the user's audio in what a server took for turns of the user."""
        server = self.stage.server.connections[connection]
        turns = {one.item_id: one.pcm for one in server.committed}
        for held in server.conversation.items:
            if held.pcm and getattr(held.item, "role", "") == "user":
                turns.setdefault(held.id, bytes(held.pcm))
        return [pcm for pcm in turns.values() if any(pcm)]

    def answering(self) -> int:
        """Return the connection on which the user's words were last answered."""
        found = [
            connection.index
            for connection in self.stage.server.connections
            for record in connection.responses
            if record.override in {None, SUNNY} and record.status == "completed"
        ]
        assert found, "the user was never answered"
        return found[-1]


async def spoken_at(
    offset: float,
    *,
    fresh: bool,
    one_way: float,
    through: Agent | None = None,
    handoffs: int = 1,
    **server: Any,
) -> Scene:
    """Let the user speak at an offset from the decision; return when all is quiet."""
    utterances = Utterances()
    clip = utterances.say(WORDS, ms=round(SPOKEN * 1000))
    model = {"capabilities": {"mutable_instructions": False}} if fresh else {}
    server |= {"network": Network(one_way=one_way), "utterances": utterances}
    async with (
        on_stage(talk, microphone=True, server=server, model=model) as stage,
        trio.open_nursery() as nursery,
    ):
        assert stage.microphone is not None
        line = Line(stage.microphone)
        nursery.start_soon(line.run)
        commit_at = trio.current_time() + COMMIT
        ends = line.say(clip, commit_at + offset)
        scene = Scene(stage, clip, commit_at, ends, one_way)
        nursery.start_soon(stage.session.run, Busy(commit_at, through or Weather()))
        with trio.fail_after(30):
            await trio.sleep_until(max(commit_at, scene.spoken_to))
            await until(lambda: len(stage.of(HandoffCompleted)) == handoffs)
            await trio.sleep(4)
        assert not any(stage.session.realtime.open_work.values())
        nursery.cancel_scope.cancel()
    return scene


def check_whole(scene: Scene) -> None:
    """H5: where the turn was answered it holds every sample once, and stands alone.

    A turn whose words had come before it was answered elsewhere stands there in words.
    """
    answering = scene.answering()
    turns = scene.taken(answering)
    if not turns:
        server = scene.stage.server.connections[answering]
        texts = [held.text for held in server.conversation.items]
        assert texts.count(WORDS) == 1
        turns = scene.taken(0)
    assert [pcm.count(scene.clip) for pcm in turns] == [1]


def check_answered(scene: Scene) -> None:
    """H6, H18: one whole answer, by the new agent, unless the old one's was complete.

    Of an answer that the old agent had begun, what was made before is heard.
    """
    done, begun = scene.answers_before_the_commit()
    old, new = scene.answers_by(KELLY), scene.answers_by(SUNNY)
    assert len(old) <= begun
    assert all(heard == list(range(len(heard))) for heard in old)
    whole = list(range(70))
    assert new == ([] if done else [whole])
    assert (old == [whole]) == done
    first = min(at for at, *_ in scene.played(KELLY if done else SUNNY))
    assert first < scene.spoken_to + 2.5


def check_recorded(scene: Scene) -> None:
    """H6: the turn stands once, between what was said before it and its answer."""
    items = scene.stage.session.chat_ctx.items
    said = [(item.role, item.text) for item in items if isinstance(item, Message)]
    assert [words for role, words in said if role == "user"] == [WORDS]
    turn = said.index(("user", WORDS))
    before = [words for _, words in said[:turn]]
    after = [words for _, words in said[turn + 1 :]]
    assert "One moment." in before
    assert sum(words.endswith(f": {WORDS}.") for words in after) == 1
    assert not any(words.endswith(f": {WORDS}.") for words in before)
    conversation = scene.stage.server.connections[-1].conversation
    assert [held.id for held in conversation.items] == [item.id for item in items]


def check_nothing_went_wrong(scene: Scene) -> None:
    """No frame was malformed, and nothing was refused but what two may race for."""
    assert scene.stage.server.protocol_errors == []
    codes = {
        entry.event["error"]["code"]
        for connection in scene.stage.server.connections
        for entry in connection.find("error", "out")
    }
    races = {"response_cancel_not_active", "conversation_already_has_active_response"}
    assert codes <= races


OFFSETS = [-2.0, -1.42, -1.38, -1.34, -1.3, -1.0, -0.5, -0.04, 0.1, 0.75]
"""From speech that is answered before the decision to speech after the settlement."""


@pytest.mark.behaviour("H5", "H6")
@pytest.mark.parametrize("one_way", [0.0, 0.03])
@pytest.mark.parametrize("fresh", [False, True], ids=["reuse", "fresh"])
@pytest.mark.parametrize("offset", OFFSETS)
async def test_what_is_said_around_a_handoff_is_whole_and_answered_once(
    autojump_clock: trio.testing.MockClock, offset: float, fresh: bool, one_way: float
) -> None:
    """Whenever the user speaks: every sample once, one answer, one place."""
    scene = await spoken_at(offset, fresh=fresh, one_way=one_way)
    check_whole(scene)
    check_answered(scene)
    check_recorded(scene)
    check_nothing_went_wrong(scene)


@pytest.mark.behaviour("H5")
@pytest.mark.parametrize("offset", [-0.5, -0.04])
async def test_the_old_connection_is_given_no_audio_once_the_switch_is_decided(
    autojump_clock: trio.testing.MockClock, offset: float
) -> None:
    """From the decision on the open turn belongs to the fresh connection alone."""
    scene = await spoken_at(offset, fresh=True, one_way=0.03)
    old = scene.stage.server.connections[0]
    appended = [entry.time for entry in old.find("input_audio_buffer.append", "in")]
    assert scene.commit_at < max(appended) + 0.02 <= scene.commit_at + 0.03 + 0.02
    check_whole(scene)


@pytest.mark.behaviour("H19", "H6")
@pytest.mark.parametrize("fresh", [False, True], ids=["reuse", "fresh"])
@pytest.mark.parametrize("offset", [-0.5, -0.3])
async def test_a_new_agent_that_asks_for_nothing_is_not_asked_while_the_user_speaks(
    autojump_clock: trio.testing.MockClock, offset: float, fresh: bool
) -> None:
    """What it says first is the answer to the user's turn, and that is all."""
    silent = Agent(SUNNY, name="Weather")
    scene = await spoken_at(offset, fresh=fresh, one_way=0.03, through=silent)
    assert scene.answers_by(SUNNY) == [list(range(70))]
    check_whole(scene)
    check_answered(scene)
    check_recorded(scene)
    check_nothing_went_wrong(scene)


@pytest.mark.behaviour("H14", "H5")
@pytest.mark.parametrize("fresh", [False, True], ids=["reuse", "fresh"])
async def test_the_timings_say_for_how_long_no_server_heard_the_user(
    autojump_clock: trio.testing.MockClock, fresh: bool
) -> None:
    """Not at all on a reused connection; else until the fresh one had agreed."""
    scene = await spoken_at(0.1, fresh=fresh, one_way=0.03)
    (timings,) = scene.stage.session.handoffs
    heard = sorted(
        entry.time
        for connection in scene.stage.server.connections
        for entry in connection.find("input_audio_buffer.append", "in")
        if scene.commit_at - 0.5 < entry.time < scene.commit_at + 1
    )
    longest = max(b - a for a, b in pairwise(heard))
    assert timings.user_audio_gap == pytest.approx(longest if fresh else 0, abs=0.021)
    assert timings.acknowledged is not None
    since = timings.acknowledged - timings.committed
    assert timings.user_audio_gap == pytest.approx(since if fresh else 0)


@pytest.mark.behaviour("H18", "H6")
@pytest.mark.parametrize("fresh", [False, True], ids=["reuse", "fresh"])
@pytest.mark.parametrize("offset", [-1.35, -1.34, -1.33, -1.32])
async def test_an_answer_begun_under_the_old_prompt_is_never_heard(
    autojump_clock: trio.testing.MockClock, offset: float, fresh: bool
) -> None:
    """Turn detection answers between decision and update: the new agent does."""
    scene = await spoken_at(offset, fresh=fresh, one_way=0.03)
    stale = [
        record
        for record in scene.stage.server.connections[0].responses
        if record.instructions == KELLY
        and record.created + scene.one_way > scene.commit_at
    ]
    assert len(stale) == 1
    assert scene.answers_by(KELLY) == []
    assert scene.answers_by(SUNNY) == [list(range(70))]
    held = scene.stage.server.connections[-1].conversation.items
    assert not {item.id for item in held} & set(stale[0].item_ids)
    check_recorded(scene)
    check_nothing_went_wrong(scene)


@pytest.mark.behaviour("H6")
async def test_an_answer_that_was_due_on_the_old_connection_is_given_on_the_fresh_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The turn was taken, its answer not yet announced when the connection changed."""
    scene = await spoken_at(
        -1.36,
        fresh=True,
        one_way=0.03,
        faults=[late("response.created", seconds=1, nth=2, connection=0)],
        settings=Settings(pace=Pace(think_ms=500)),
    )
    assert scene.answers_by(KELLY) == []
    assert scene.answers_by(SUNNY) == [list(range(70))]
    check_recorded(scene)


@pytest.mark.behaviour("H6")
@pytest.mark.parametrize("fresh", [False, True], ids=["reuse", "fresh"])
@pytest.mark.parametrize("stay", [0.0, 0.1, 0.15])
async def test_an_answer_that_is_owed_passes_on_through_a_chain_of_handoffs(
    autojump_clock: trio.testing.MockClock, stay: float, fresh: bool
) -> None:
    """Whoever owed it hands over before it is heard: then the next one answers."""

    class Through(Agent):
        instructions = "You are Sunny, a weather specialist."

        async def on_enter(self, ctx: RunContext) -> Handoff:
            await trio.sleep(stay)
            return Handoff(Agent(MAX), reply="none")

    scene = await spoken_at(
        -1.34, fresh=fresh, one_way=0.03, through=Through(), handoffs=2
    )
    assert scene.answers_by(KELLY) == []
    assert scene.answers_by(SUNNY) == []
    assert scene.answers_by(MAX) == [list(range(70))]
    check_recorded(scene)
    check_nothing_went_wrong(scene)


# --- what the old agent says ------------------------------------------------------


def wordy(turn: Turn) -> Any:
    """Speak for two seconds and transfer, sent ten times faster than it plays."""
    if "transfer" in (turn.override or ""):
        return [Say("One moment, I am putting you through.", ms=2000), _CALL]
    return Say("Sunny here.", ms=600)


_CALL = Call("transfer_to_weather")


class Caller(Agent):
    """Hands over as soon as it enters, with its speech finished or cut."""

    instructions = "You are Kelly, a friendly greeter."

    def __init__(self, speech: Literal["finish", "cut"]) -> None:
        super().__init__()
        self.speech: Literal["finish", "cut"] = speech

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Please transfer.")

    @function_tool
    async def transfer_to_weather(self, ctx: RunContext) -> Handoff:
        """Transfer to the weather specialist."""
        return Handoff(Weather(), speech=self.speech)


async def handed_over(speech: Literal["finish", "cut"], fresh: bool) -> Stage:
    """Let the caller hand over; return when all is said."""
    model = {"capabilities": {"mutable_instructions": False}} if fresh else {}
    async with on_stage(wordy, model=model) as stage, trio.open_nursery() as nursery:
        nursery.start_soon(stage.session.run, Caller(speech))
        with trio.fail_after(30):
            await until(lambda: stage.of(HandoffCompleted))
            await trio.sleep(5)
        nursery.cancel_scope.cancel()
    return stage


def marks_of(stage: Stage) -> list[tuple[int, int]]:
    """Return (item, seq) of each 10 ms that was played, in order."""
    return [(mark.item, mark.seq) for mark, *_ in stage.server.heard(stage.output.pcm)]


def frames(item: int, count: int) -> list[tuple[int, int]]:
    return [(item, seq) for seq in range(count)]


@pytest.mark.behaviour("H17")
@pytest.mark.parametrize("fresh", [False, True], ids=["reuse", "fresh"])
async def test_what_the_old_agent_said_is_heard_to_its_end(
    autojump_clock: trio.testing.MockClock, fresh: bool
) -> None:
    """By default both are heard in full, in one breath: no gap and no overlap."""
    stage = await handed_over("finish", fresh)
    assert marks_of(stage) == frames(0, 200) + frames(1, 60)
    assert len(stage.output.runs) == 1
    for connection in stage.server.connections:
        assert connection.find("conversation.item.truncate", "in") == []
        assert connection.find("conversation.item.delete", "in") == []
    said = [item.text for item in stage.session.chat_ctx if isinstance(item, Message)]
    assert said == ["One moment, I am putting you through.", "Sunny here."]


@pytest.mark.behaviour("H17")
@pytest.mark.parametrize("fresh", [False, True], ids=["reuse", "fresh"])
async def test_what_the_old_agent_said_is_cut_and_truncated_if_asked(
    autojump_clock: trio.testing.MockClock, fresh: bool
) -> None:
    """Cut at the decision, truncated at what was heard; the new one follows at once."""
    stage = await handed_over("cut", fresh)
    timings = stage.session.handoffs[0]
    first, second = stage.output.runs
    assert first.end == pytest.approx(timings.committed, abs=0.021)
    heard = len(first.pcm) // 48
    assert marks_of(stage) == frames(0, heard // 10) + frames(1, 60)
    (truncate,) = stage.server.connections[0].find("conversation.item.truncate", "in")
    assert truncate.event["audio_end_ms"] == pytest.approx(heard, abs=20)
    created = stage.server.connections[-1].responses[-1].created
    thinking = stage.server.settings.pace.think_ms / 1000
    assert second.time <= created + thinking + 0.021
    assert created <= timings.committed + 0.001
    spoken = stage.session.chat_ctx.items[0]
    assert isinstance(spoken, Message)
    assert spoken.heard_ms == truncate.event["audio_end_ms"]
    assert "One moment, I am putting you through.".startswith(spoken.text)
