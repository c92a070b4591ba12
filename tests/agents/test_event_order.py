"""The order of events that docs/events.md promises, on scripted conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from stage import (
    Greeter,
    Prompted,
    Weather,
    on_stage,
    prompted,
    running,
    speak,
    transferring_brain,
    until,
)
from trialogue import (
    Agent,
    Handoff,
    RunContext,
    ServerVAD,
    SessionOptions,
    Transcription,
    function_tool,
)
from trialogue.conversation.items import FunctionCall, FunctionCallOutput, Message
from trialogue.events import (
    AgentEntered,
    AgentTranscript,
    ConnectionEnded,
    ConnectionOpened,
    HandoffCompleted,
    HandoffFailed,
    HandoffMeasured,
    HandoffStarted,
    ItemChanged,
    ReplyEnded,
    ReplyStarted,
    ResponseMetrics,
    ToolFailed,
    ToolFinished,
    ToolNoted,
    ToolStarted,
    UserStartedSpeaking,
    UserStoppedSpeaking,
    UserTranscript,
)
from trialogue.testing import Call, Say, Utterances, cut, late, reject

if TYPE_CHECKING:
    from collections.abc import Callable

LISTENING = SessionOptions(turn_detection=ServerVAD(), transcription=Transcription())


def told(events: list[Any], *kinds: type[Any]) -> list[str]:
    """The events of these kinds by name, with what tells one from another."""
    return [_told(event) for event in events if isinstance(event, kinds)]


def _told(event: Any) -> str:
    match event:
        case AgentEntered(agent) | ReplyStarted(_, agent) | ReplyEnded(_, _, agent):
            said: object = agent
        case ToolStarted(call_id=call_id) | ToolFinished(call_id=call_id):
            said = call_id
        case ItemChanged(change, _, item):
            what = "" if item is None else f" {type(item).__name__}"
            said = f"{change}{what}"
        case UserTranscript(final=final):
            said = "final" if final else "interim"
        case ConnectionOpened(reason=reason):
            said = reason
        case _:
            return type(event).__name__
    return f"{type(event).__name__} {said}"


def first(events: list[Any], matches: Callable[[Any], bool]) -> int:
    return next(n for n, event in enumerate(events) if matches(event))


def check_replies(events: list[Any]) -> None:
    """Each beginning has one end, and the price stands between the two."""
    for started in [e for e in events if isinstance(e, ReplyStarted)]:
        own = [
            type(e)
            for e in events
            if getattr(e, "response_id", None) == started.response_id
        ]
        assert own == [ReplyStarted, ResponseMetrics, ReplyEnded]


class Working(Prompted):
    """Has tools of each kind, and asks for one reply when it enters."""

    @function_tool
    async def quick(self, ctx: RunContext) -> str:
        """Quick."""
        return "done"

    @function_tool
    async def slow(self, ctx: RunContext) -> str:
        """Slow."""
        await trio.sleep(3)
        return "done"

    @function_tool
    async def broken(self, ctx: RunContext) -> str:
        """Broken."""
        await trio.sleep(1)
        raise RuntimeError("a fault of its author")

    @function_tool(on_handoff="detach")
    async def detached(self, ctx: RunContext) -> str:
        """Go on."""
        await trio.sleep(20)
        return "at last"

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Transfer."""
        return Weather()

    @function_tool
    async def transfer_afresh(self, ctx: RunContext) -> Handoff:
        """Transfer."""
        return Handoff(Weather(), context="fresh")


async def test_a_turn_of_the_users(autojump_clock: trio.testing.MockClock) -> None:
    """Begins, ends, becomes an item, and is put down in words, each word once."""
    clips = Utterances()
    pcm = clips.say("How are you?", 800)
    async with (
        on_stage(
            lambda turn: Say("Fine."),
            microphone=True,
            server={"utterances": clips},
            model={"options": LISTENING},
        ) as stage,
        running(stage, Agent("You are Kelly.")),
    ):
        assert stage.microphone is not None
        await speak(stage.microphone, pcm)
        await until(lambda: stage.of(ReplyEnded))
        await until(lambda: any(e.final for e in stage.of(UserTranscript)))

    turn = stage.of(UserTranscript)[-1].item_id
    own = [e for e in stage.events if getattr(e, "item_id", None) == turn]
    order = told(own, UserStartedSpeaking, UserStoppedSpeaking, ItemChanged)
    assert order[:3] == [
        "UserStartedSpeaking",
        "UserStoppedSpeaking",
        "ItemChanged added Message",
    ]
    words = [e for e in own if isinstance(e, UserTranscript)]
    assert [e.final for e in words][-1:] == [True]
    assert sum(e.final for e in words) == 1
    for transcript in words:
        before = own[own.index(transcript) - 1]
        assert isinstance(before, ItemChanged)
        assert isinstance(before.item, Message)
        assert before.item.text == transcript.text
    check_replies(stage.events)


async def test_a_reply_and_its_tools(autojump_clock: trio.testing.MockClock) -> None:
    """Calls are answered in their order, whichever tool was done first."""
    brain = prompted(
        Say("One moment."),
        Call("slow", call_id="one"),
        Call("quick", call_id="two"),
        Call("nothing_like_it", call_id="three"),
        Call("broken", call_id="four"),
    )
    async with on_stage(brain) as stage, running(stage, Working()):
        await until(lambda: len(stage.of(ReplyEnded)) == 2)

    events = stage.events
    check_replies(events)
    assert told(events, ReplyStarted, ReplyEnded, ToolStarted, ToolFinished) == [
        "ReplyStarted Working",
        "ToolStarted one",
        "ToolStarted two",
        "ToolStarted four",
        "ReplyEnded Working",
        "ToolFinished one",
        "ToolFinished two",
        "ToolFinished three",
        "ToolFinished four",
        "ReplyStarted Working",
        "ReplyEnded Working",
    ]
    finished = first(events, lambda e: isinstance(e, ToolFinished))
    assert (
        told(events[finished + 4 : finished + 8], ItemChanged)
        == ["ItemChanged added FunctionCallOutput"] * 4
    )
    failed = first(events, lambda e: isinstance(e, ToolFailed))
    assert failed < finished
    began = first(events, lambda e: isinstance(e, ReplyStarted))
    spoken = [n for n, e in enumerate(events) if isinstance(e, AgentTranscript)]
    ended = first(events, lambda e: isinstance(e, ReplyEnded))
    assert began < spoken[0] < ended
    results = {e.call_id: (e.outcome, e.seconds) for e in stage.of(ToolFinished)}
    assert results == {
        "one": ("Returned", pytest.approx(3)),
        "two": ("Returned", pytest.approx(0)),
        "three": ("UnknownTool", None),
        "four": ("Crashed", pytest.approx(1)),
    }


@pytest.mark.behaviour("H14")
@pytest.mark.parametrize("kind", ["transfer", "transfer_afresh"])
async def test_a_handoff(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    """From the decision to the first word, over the same connection or a fresh one."""
    brain = prompted(Call("slow", call_id="one"), Call(kind, call_id="two"))
    flags = {"mutable_instructions": kind == "transfer"}
    async with (
        on_stage(brain, model={"capabilities": flags}) as stage,
        running(stage, Working()),
    ):
        await until(lambda: stage.of(HandoffMeasured))

    events = stage.events[first(stage.events, lambda e: isinstance(e, ToolStarted)) :]
    order = told(
        events,
        *(ToolStarted, ToolFinished, AgentEntered, ConnectionOpened),
        *(HandoffStarted, HandoffCompleted, HandoffMeasured),
    )
    fresh = [] if kind == "transfer" else ["ConnectionOpened handoff"]
    assert order == [
        "ToolStarted one",
        "ToolStarted two",
        "HandoffStarted",
        "ToolFinished one",
        "ToolFinished two",
        "AgentEntered Weather",
        *fresh,
        "HandoffCompleted",
        "HandoffMeasured",
    ]
    answered = [e.outcome for e in stage.of(ToolFinished)]
    assert answered == ["HandedOff", "Transferred"]
    entered = first(events, lambda e: isinstance(e, AgentEntered))
    outputs = [
        n
        for n, e in enumerate(events)
        if isinstance(e, ItemChanged)
        and e.change == "added"
        and isinstance(e.item, FunctionCallOutput)
    ]
    finished = first(events, lambda e: isinstance(e, ToolFinished))
    assert [finished < n < entered for n in outputs] == [True, True]
    spoken = first(events, lambda e: _told(e) == "ReplyStarted Weather")
    assert entered < spoken
    check_replies(stage.events)


@pytest.mark.behaviour("H14")
async def test_a_handoff_that_is_agreed_late_is_measured_after_that(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The first words carried the new configuration, and came before the agreement."""
    faults = [late("session.updated", seconds=1.5, nth=n) for n in (2, 3)]
    async with (
        on_stage(prompted(Call("transfer")), server={"faults": faults}) as stage,
        running(stage, Working()),
    ):
        await until(lambda: stage.of(HandoffMeasured))

    assert told(stage.events, HandoffCompleted, HandoffMeasured) == [
        "HandoffCompleted",
        "HandoffMeasured",
    ]
    [measured] = stage.of(HandoffMeasured)
    assert measured.timings.first_audio < measured.timings.acknowledged


async def test_a_handoff_that_fails(autojump_clock: trio.testing.MockClock) -> None:
    """The agent that goes on enters once more; nothing was agreed."""
    faults = [reject("session.update", code="invalid_value", nth=2)]
    async with (
        on_stage(prompted(Call("transfer")), server={"faults": faults}) as stage,
        running(stage, Working()),
    ):
        await until(lambda: len(stage.of(AgentEntered)) == 3)

    assert told(
        stage.events, AgentEntered, HandoffStarted, HandoffFailed, HandoffCompleted
    ) == [
        "AgentEntered Working",
        "HandoffStarted",
        "AgentEntered Weather",
        "HandoffFailed",
        "AgentEntered Working",
    ]


async def test_a_detached_tool_is_answered_once_and_noted_when_it_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """In progress when its agent leaves; its result is the next agent's to hear."""
    brain = prompted(Call("detached", call_id="one"), Call("transfer", call_id="two"))
    async with on_stage(brain) as stage, running(stage, Working()):
        await until(lambda: stage.of(ToolNoted))

    own = [e for e in stage.events if getattr(e, "call_id", None) == "one"]
    assert [type(e) for e in own] == [ToolStarted, ToolFinished, ToolNoted]
    assert own[1].outcome == "InProgress"
    assert own[2].outcome == "Returned"
    assert own[2].agent == "Working"
    assert own[2].note == "Result of detached: at last"
    assert own[2].seconds == pytest.approx(20)


@pytest.mark.parametrize("heard", [False, True])
async def test_a_reply_that_is_lost_ends_all_the_same(
    heard: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """Once, as lost, before the one that is made instead of it begins."""
    async with (
        on_stage(prompted(Say("Hello, this is Kelly.", ms=30_000))) as stage,
        running(stage, Prompted()),
    ):
        await until(lambda: stage.output.played > 12_000 if heard else True)
        if not heard:
            await until(lambda: stage.of(ReplyStarted))
        stage.server.inject(cut(after="response.output_audio.delta"))
        await until(lambda: stage.of(ConnectionEnded))
        await until(lambda: stage.of(ConnectionOpened))
        await trio.sleep(1)
        stage.session.interrupt()
        await trio.sleep(1)

    check_replies(stage.events)
    order = told(stage.events, ReplyStarted, ReplyEnded, ConnectionEnded)
    assert order[:3] == [
        "ReplyStarted Prompted",
        "ReplyEnded Prompted",
        "ConnectionEnded",
    ]
    assert stage.of(ReplyEnded)[0].outcome.outcome == "lost"
    assert stage.of(ResponseMetrics)[0].usage is None
    assert len(stage.of(ReplyStarted)) == (1 if heard else 2)


async def test_a_reply_that_a_handoff_left_off_ends_all_the_same(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nothing of it had been heard, so nothing of it will be."""
    async with (
        on_stage(lambda turn: Say("Long.", ms=20_000)) as stage,
        running(stage, Prompted()),
    ):
        await until(lambda: stage.of(ReplyStarted))
        stage.session.handoff_soon(Weather())
        await until(lambda: stage.of(HandoffMeasured))
        stage.session.interrupt()
        await trio.sleep(1)

    check_replies(stage.events)


async def test_a_call_that_comes_after_the_decision_is_finished_and_never_started(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its response was made under the agent that is leaving: nobody runs it."""
    async with on_stage(transferring_brain) as stage, running(stage, Greeter()):
        for words in ("Transfer me to the weather.", "Take me back."):
            edited = stage.session.chat_ctx.add_message("user", words)
            await stage.session.update_chat_ctx(edited)
            await stage.session.generate_reply()
            await trio.sleep(10)

    calls = [i.call_id for i in stage.session.chat_ctx if isinstance(i, FunctionCall)]
    assert [e.call_id for e in stage.of(ToolFinished)] == calls
    check_replies(stage.events)
