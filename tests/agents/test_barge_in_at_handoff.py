"""The user breaks in at any moment of a handoff: what is played, and what is truncated.

The loudspeaker's samples carry a watermark, so that each 10 ms says whose words it is
and how far into them; the server keeps every truncation that it was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import attrs
import pytest
import trio

from stage import KELLY, SUNNY, Line, Stage, on_stage, until
from trialogue import Agent, Handoff, RunContext, function_tool
from trialogue.agents.events import HandoffCompleted
from trialogue.conversation.items import Message
from trialogue.realtime.notices import UserStartedSpeaking
from trialogue.testing import Call, Network, Say, Turn, Utterances

ONE_WAY = 0.03
COMMIT = 1.2
"""Seconds from the beginning to the decision; the old agent's words take longer."""
WORDS = "wait a moment please"
GAP = 0.02
TRANSFERRING = "One moment, I am putting you through."
INTRODUCTION = "This is Sunny, and I know all about the weather."
ANSWER = "Fine."
LENGTHS = {TRANSFERRING: 2000, INTRODUCTION: 1500, ANSWER: 700}
"""Milliseconds that each of them takes."""
MOMENTS = [-0.6, -0.2, -0.06, -0.03, 0.0, 0.03, 0.06, 0.4, 1.1, 1.9]
"""Seconds from the decision to the user's first word: from the midst of the old agent's
words to the midst of the new one's."""


class Sunny(Agent):
    instructions = SUNNY

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Introduce yourself.")


class Kelly(Agent):
    """Says that she puts the caller through while her tool takes its time to do so."""

    instructions = KELLY

    def __init__(self, speech: Literal["finish", "cut"], commit_at: float) -> None:
        super().__init__()
        self.speech: Literal["finish", "cut"] = speech
        self.commit_at = commit_at

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Please transfer.")

    @function_tool
    async def transfer(self, ctx: RunContext) -> Handoff:
        """Transfer to the weather specialist."""
        await trio.sleep_until(self.commit_at)
        return Handoff(Sunny(), speech=self.speech)


def talk(turn: Turn) -> Any:
    if "transfer" in (turn.override or ""):
        return [_say(TRANSFERRING), Call("transfer")]
    return _say(INTRODUCTION if "Introduce" in (turn.override or "") else ANSWER)


def _say(text: str) -> Say:
    return Say(text, ms=LENGTHS[text])


@attrs.frozen
class Part:
    """An unbroken run of one item's sound, as it was played; times are Trio's."""

    item: int
    under: str
    begin: float
    end: float
    first: int
    last: int


def parts_of(stage: Stage) -> list[Part]:
    """Return what was played, cut where another item or a silence begins."""
    parts: list[Part] = []
    for run in stage.output.runs:
        before: Part | None = None
        for mark, under, _ in stage.server.heard(run.pcm):
            at = run.time + mark.position / 24_000
            goes_on = before is not None and before.item == mark.item
            if before is not None and goes_on and mark.seq == before.last + 1:
                before = attrs.evolve(before, end=at + 0.01, last=mark.seq)
                parts[-1] = before
            else:
                before = Part(mark.item, under, at, at + 0.01, mark.seq, mark.seq)
                parts.append(before)
    return parts


@attrs.frozen
class Scene:
    """What remains of one conversation.

    Attributes:
        noticed: when the client learnt that the user speaks.
        speech: how the old agent's words were to end.
    """

    stage: Stage
    noticed: float
    speech: Literal["finish", "cut"]
    parts: Sequence[Part]

    @property
    def spoken(self) -> list[tuple[Part, Message]]:
        """What was played, each part with the message that it is of."""
        said = [
            item
            for item in self.stage.session.chat_ctx
            if isinstance(item, Message) and item.role == "assistant"
        ]
        return list(zip(self.parts, said, strict=True))

    @property
    def truncations(self) -> dict[str, int]:
        """Where the servers were told to cut which item, in milliseconds."""
        frames = [
            entry.event
            for connection in self.stage.server.connections
            for entry in connection.find("conversation.item.truncate", "in")
        ]
        assert len({frame["item_id"] for frame in frames}) == len(frames)
        return {frame["item_id"]: frame["audio_end_ms"] for frame in frames}

    def given_in_words(self, item_id: str) -> bool:
        """Whether only a server that never spoke it holds it when it is cut."""
        last = self.stage.server.connections[-1]
        asked = [e.event["item"] for e in last.find("conversation.item.create", "in")]
        return any(item["id"] == item_id for item in asked)


async def broken_in(
    moment: float, speech: Literal["finish", "cut"], *, fresh: bool
) -> Scene:
    """Hand over, and break in at a moment of it; return when all has been said."""
    utterances = Utterances()
    clip = utterances.say(WORDS, ms=600)
    model = {"capabilities": {"mutable_instructions": False}} if fresh else {}
    server = {"network": Network(one_way=ONE_WAY), "utterances": utterances}
    async with (
        on_stage(talk, microphone=True, server=server, model=model) as stage,
        trio.open_nursery() as nursery,
    ):
        assert stage.microphone is not None
        line = Line(stage.microphone)
        nursery.start_soon(line.run)
        commit_at = trio.current_time() + COMMIT
        line.say(clip, commit_at + moment)
        nursery.start_soon(stage.session.run, Kelly(speech, commit_at))
        with trio.fail_after(30):
            await until(lambda: stage.of(UserStartedSpeaking))
            noticed = trio.current_time()
            await until(lambda: stage.of(HandoffCompleted))
            await trio.sleep(6)
        assert not any(stage.session.realtime.open_work.values())
        nursery.cancel_scope.cancel()
    return Scene(stage, noticed, speech, parts_of(stage))


def check_played(scene: Scene) -> None:
    """Each item once and from its beginning, one after the other; then the answer."""
    assert all(part.first == 0 for part in scene.parts)
    assert len({part.item for part in scene.parts}) == len(scene.parts)
    assert all(a.end <= b.begin + 1e-6 for a, b in pairwise(scene.parts))
    answer = scene.parts[-1]
    assert (answer.under, answer.last) == (SUNNY, 69)
    assert all(part.end <= scene.noticed + GAP for part in scene.parts[:-1])


def check_gaps(scene: Scene) -> None:
    """No silence but what the server needs to think, and the user to speak."""
    for before, part in pairwise(scene.parts[:-1]):
        # What was cut is followed by what has not been made yet; by nothing slower.
        timings = scene.stage.session.handoffs[0]
        assert timings.first_audio is not None
        due = before.end if scene.speech == "finish" else timings.first_audio
        assert part.begin <= due + GAP
    record = scene.stage.server.connections[-1].responses[-1]
    thinking = scene.stage.server.settings.pace.think_ms / 1000
    due = record.created + thinking + ONE_WAY
    assert scene.parts[-1].begin <= due + GAP + 0.01  # its first 10 ms are on their way


def check_truncated(scene: Scene) -> None:
    """Where the playout stopped, in the record and at the server that spoke it."""
    truncations = scene.truncations
    for part, message in scene.spoken:
        played = (part.last + 1) * 10
        if message.heard_ms is None:
            assert played == LENGTHS[message.text]
            assert message.id not in truncations
            continue
        assert message.heard_ms == pytest.approx(played, abs=GAP * 1000)
        if message.id in truncations:
            assert truncations[message.id] == message.heard_ms
        else:
            assert scene.given_in_words(message.id)
    assert set(truncations) <= {message.id for _, message in scene.spoken}
    held = scene.stage.server.connections[-1].conversation.items
    assert [item.id for item in held] == [i.id for i in scene.stage.session.chat_ctx]
    errors = [e for c in scene.stage.server.connections for e in c.find("error", "out")]
    races = {"response_cancel_not_active", "conversation_already_has_active_response"}
    assert {entry.event["error"]["code"] for entry in errors} <= races


@pytest.mark.behaviour("U3", "H17")
@pytest.mark.parametrize("fresh", [False, True], ids=["reuse", "fresh"])
@pytest.mark.parametrize("speech", ["finish", "cut"])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_the_user_breaks_in_at_any_moment_of_a_handoff(
    autojump_clock: trio.testing.MockClock,
    moment: float,
    speech: Literal["finish", "cut"],
    fresh: bool,
) -> None:
    """No overlap, no gap over 20 ms, truncated within 20 ms of what was played."""
    scene = await broken_in(moment, speech, fresh=fresh)
    check_played(scene)
    check_gaps(scene)
    check_truncated(scene)
