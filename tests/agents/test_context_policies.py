"""What a new agent finds of the conversation: context policies, and the note (H15)."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from stage import SUNNY, Greeter, Stage, Weather, on_stage, running, until
from trialogue import (
    Agent,
    ChatContext,
    ConfigurationError,
    ConversionError,
    Handoff,
    HandoffError,
    ImageContent,
    Limits,
    Message,
    RunContext,
    TextContent,
    function_tool,
    last_turns,
)
from trialogue.agents.events import HandoffCompleted, HandoffStarted, ToolFailed
from trialogue.realtime.notices import ConnectionEnded, ReplyEnded
from trialogue.testing import Call, Network, Say, Turn, reject

reused_or_fresh = pytest.mark.parametrize(
    "fresh", [False, True], ids=["reuse", "fresh"]
)
NOTE = "The caller is called Ann."
HISTORY = [
    ("user", "one"),
    ("assistant", "Kelly."),
    ("user", "two"),
    ("assistant", "Kelly."),
    ("user", "please transfer"),
    ("assistant", "One moment."),
    ("function_call", "transfer"),
]
OUTPUT = ("function_call_output", "transferred to Weather")


class Desk(Agent):
    """Hands over as it was told to."""

    instructions = "You are Kelly."

    def __init__(self, **how: Any) -> None:
        super().__init__()
        self.how = how

    @function_tool
    async def transfer(self, ctx: RunContext) -> Handoff:
        """Transfer."""
        return Handoff(Weather(), **self.how)


def brain(turn: Turn) -> Any:
    if (
        "Kelly" in turn.instructions
        and "transfer" in turn.user_text
        and not turn.output
    ):
        return [Say("One moment."), Call("transfer")]
    return Say("Sunny." if "Sunny" in turn.instructions else "Kelly.")


def on_the_stage(fresh: bool = False, **options: Any) -> Any:
    model = {"capabilities": {"mutable_instructions": False}} if fresh else {}
    return on_stage(brain, model=model, **options)


async def say(stage: Stage, text: str) -> None:
    """Write something as the user, and have it answered."""
    edited = stage.session.chat_ctx.add_message("user", text)
    (await stage.session.update_chat_ctx(edited)).raise_for_failures()
    await stage.session.generate_reply()


async def talk(stage: Stage) -> None:
    """Two turns, and a third that hands over; wait until Sunny was heard."""
    await until(lambda: stage.session.realtime.settled)
    for text in ("one", "two", "please transfer"):
        await say(stage, text)
    await until(lambda: stage.of(HandoffCompleted))
    await until(lambda: stage.of(ReplyEnded)[-1].agent == "Weather")
    await stage.session.wait_for_playout()


def held(stage: Stage) -> list[tuple[str, str]]:
    """Return the server's conversation as (role or type, words)."""
    return [
        (
            getattr(one.item, "role", one.item.type),
            str(getattr(one.item, "output", "") or getattr(one.item, "name", ""))
            or one.text,
        )
        for one in stage.server.connections[-1].conversation
    ]


def recorded(stage: Stage) -> list[tuple[str, str]]:
    """Return the record in the same form."""
    found: list[tuple[str, str]] = []
    for item in stage.session.chat_ctx:
        if isinstance(item, Message):
            found.append((item.role, item.text))
        elif (name := getattr(item, "name", None)) is not None:
            found.append(("function_call", name))
        else:
            found.append(("function_call_output", getattr(item, "output", "")))
    return found


def without_calls(chat_ctx: ChatContext) -> ChatContext:
    return chat_ctx.copy(exclude_function_calls=True)


async def summed_up(chat_ctx: ChatContext) -> ChatContext:
    await trio.sleep(1)
    return ChatContext().add_message("system", f"They said {len(chat_ctx)} things.")


def rewritten(chat_ctx: ChatContext) -> ChatContext:
    """Put one in, change one, take one out, and let two change places."""
    one, _, two, *rest = chat_ctx.items
    uno = Message(one.id, "user", (TextContent("uno"),))
    edited = ChatContext([two, uno, *rest], chat_ctx.version, chat_ctx.origin)
    return edited.add_message("system", "Translated.")


DELETE, CREATE = "conversation.item.delete", "conversation.item.create"
POLICIES: dict[str, tuple[Any, list[str], list[tuple[str, str]]]] = {
    "keep": ("keep", [CREATE], [*HISTORY, OUTPUT]),
    "fresh": ("fresh", [DELETE] * 7, []),
    "last-1": (last_turns(1), [CREATE, *[DELETE] * 4], [*HISTORY[4:], OUTPUT]),
    "last-2": (last_turns(2), [CREATE, *[DELETE] * 2], [*HISTORY[2:], OUTPUT]),
    "last-9": (last_turns(9), [CREATE], [*HISTORY, OUTPUT]),
    "function": (without_calls, [DELETE], HISTORY[:-1]),
    "async": (
        summed_up,
        [*[DELETE] * 7, CREATE],
        [("system", "They said 7 things.")],
    ),
    "rewritten": (
        rewritten,
        [CREATE, *[DELETE] * 2, *[CREATE] * 2],
        [
            ("user", "two"),
            ("user", "uno"),
            *HISTORY[3:],
            OUTPUT,
            ("system", "Translated."),
        ],
    ),
    "unchanged": (lambda chat_ctx: chat_ctx, [CREATE], [*HISTORY, OUTPUT]),
}


@pytest.mark.behaviour("H15", "H1")
@pytest.mark.parametrize("name", POLICIES)
async def test_on_a_reused_connection_a_policy_sends_just_what_it_changes(
    autojump_clock: trio.testing.MockClock, name: str
) -> None:
    """One burst: the update, outputs, deletions and creations, the request."""
    policy, changes, found = POLICIES[name]
    async with on_the_stage() as stage, running(stage, Desk(context=policy)):
        await talk(stage)
        assert len(stage.server.connections) == 1
        sent = [entry.type for entry in stage.sent()]
        burst = sent[sent.index("session.update", 1) :]
        assert burst == ["session.update", *changes, "response.create"]
        times = {entry.time for entry in stage.sent()[-len(burst) :]}
        assert len(times) == 1
        assert held(stage) == recorded(stage) == [*found, ("assistant", "Sunny.")]


@pytest.mark.behaviour("H15", "H1")
@pytest.mark.parametrize("name", POLICIES)
async def test_a_fresh_connection_is_given_just_what_a_policy_leaves(
    autojump_clock: trio.testing.MockClock, name: str
) -> None:
    """One burst: the update, what is left, the request; nothing is deleted."""
    policy, _, found = POLICIES[name]
    async with on_the_stage(fresh=True) as stage, running(stage, Desk(context=policy)):
        await talk(stage)
        assert len(stage.server.connections) == 2
        sent = [entry.type for entry in stage.sent()]
        given = [CREATE] * len(found)
        assert sent == ["session.update", *given, "response.create"]
        assert held(stage) == recorded(stage) == [*found, ("assistant", "Sunny.")]


@pytest.mark.behaviour("H15")
@reused_or_fresh
@pytest.mark.parametrize("policy", ["keep", "fresh"])
async def test_a_note_is_the_last_thing_that_the_new_agent_finds(
    autojump_clock: trio.testing.MockClock, policy: str, fresh: bool
) -> None:
    """A system message in the same burst, behind the output, before the request."""
    desk = Desk(context=policy, note=NOTE)
    async with on_the_stage(fresh) as stage, running(stage, desk):
        await talk(stage)
        burst = [entry for entry in stage.sent() if entry.time == stage.sent()[-1].time]
        assert burst[0].type == "session.update"
        assert burst[-1].type == "response.create"
        note = burst[-2].event["item"]
        assert (note["role"], note["content"]) == (
            "system",
            [{"type": "input_text", "text": NOTE}],
        )
        before = [*HISTORY, OUTPUT] if policy == "keep" else []
        found = [*before, ("system", NOTE), ("assistant", "Sunny.")]
        assert held(stage) == recorded(stage) == found
        assert stage.of(HandoffCompleted)[0].timings.reused is not fresh


@pytest.mark.behaviour("H15")
async def test_a_note_needs_no_tool_and_a_blank_one_is_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """From outside and by `handoff_soon`; blanks are never sent (S1)."""
    async with on_the_stage() as stage, running(stage, Greeter()):
        await until(lambda: stage.session.realtime.settled)
        await stage.session.handoff(Handoff(Weather(), note=NOTE))
        assert recorded(stage)[0] == ("system", NOTE)
        await until(lambda: stage.session.realtime.replying.slot.idle)
        stage.session.handoff_soon(Handoff(Greeter(), note="Back again."))
        await until(lambda: isinstance(stage.session.agent, Greeter))
        await until(lambda: stage.session.realtime.replying.slot.idle)
        assert ("system", "Back again.") in recorded(stage)
        await stage.session.handoff(Handoff(Weather(), note=" \n"))
        notes = [words for role, words in recorded(stage) if role == "system"]
        assert notes == [NOTE, "Back again."]


@pytest.mark.behaviour("H15")
async def test_what_is_said_while_a_policy_works_is_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A policy changes what it was shown: what came since stands behind that."""
    async with on_the_stage() as stage, running(stage, Greeter()):
        await until(lambda: stage.session.realtime.settled)
        await say(stage, "one")
        async with trio.open_nursery() as nursery:
            handoff = Handoff(Weather(), context=summed_up, reply="none")
            nursery.start_soon(stage.session.handoff, handoff)
            await trio.sleep(0.5)
            await say(stage, "two")
        await until(lambda: stage.session.realtime.replying.slot.idle)
        assert held(stage)[:3] == [
            ("user", "two"),
            ("assistant", "Kelly."),
            ("system", "They said 2 things."),
        ]
        assert held(stage) == recorded(stage)


@pytest.mark.behaviour("H15", "H2")
@pytest.mark.parametrize("policy", ["fresh", without_calls, last_turns(1)])
async def test_a_fixed_conversation_takes_a_fresh_connection_if_a_policy_changes_it(
    autojump_clock: trio.testing.MockClock, policy: Any
) -> None:
    """And the present one if it does not."""
    flags = {"capabilities": {"mutable_chat_context": False}}
    async with on_stage(brain, model=flags) as stage:
        async with running(stage, Desk(context=policy)):
            await talk(stage)
        assert stage.of(HandoffStarted)[0].why_fresh == "the conversation is fixed"
    async with on_stage(brain, model=flags) as stage:
        async with running(stage, Desk(context=lambda chat_ctx: chat_ctx)):
            await talk(stage)
        assert stage.of(HandoffStarted)[0].why_fresh is None


# --- policies that fail --------------------------------------------------------------


def broken(chat_ctx: ChatContext) -> ChatContext:
    msg = "no summary today"
    raise RuntimeError(msg)


async def broken_later(chat_ctx: ChatContext) -> ChatContext:
    await trio.sleep(1)
    return broken(chat_ctx)


def nothing(chat_ctx: ChatContext) -> Any:
    return None


def too_long(chat_ctx: ChatContext) -> ChatContext:
    return chat_ctx.add_message("system", "long " * 300)


def unsendable(chat_ctx: ChatContext) -> ChatContext:
    picture = ImageContent("data:image/png;base64,iVBORw0KGgo=")
    return chat_ctx.add_message("assistant", picture)


FAILING: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "raises": ({"context": broken}, RuntimeError, "no summary today"),
    "raises-later": ({"context": broken_later}, RuntimeError, "no summary today"),
    "returns-none": (
        {"context": nothing},
        ConfigurationError,
        "the context policy nothing returned NoneType; return a ChatContext",
    ),
    "too-long": ({"context": too_long}, ConversionError, "1500 characters"),
    "unsendable": ({"context": unsendable}, ConversionError, "assistant"),
    "note-too-long": ({"note": "long " * 300}, ConversionError, "1500 characters"),
    "unknown": ({"context": "recent"}, ConfigurationError, "unknown context policy"),
    "not-called": (
        {"context": last_turns},
        ConfigurationError,
        r"use .*last_turns\(2\)",
    ),
    "no-text": ({"note": 3}, ConfigurationError, r"Handoff\.note is 3; expected text"),
    "speech": ({"speech": "stop"}, ConfigurationError, "'finish' or 'cut'"),
    "reply": ({"reply": True}, ConfigurationError, "'auto' or 'none'"),
}
SHORT = Limits(max_item_chars=1000, max_output_bytes=500, max_argument_bytes=500)


@pytest.mark.behaviour("H21", "H7")
@pytest.mark.parametrize("name", FAILING)
async def test_what_cannot_be_handed_over_leaves_the_old_agent_untouched(
    autojump_clock: trio.testing.MockClock, name: str
) -> None:
    """From outside it raises; nothing was sent, nothing was changed."""
    how, kind, words = FAILING[name]
    async with on_the_stage(limits=SHORT) as stage, running(stage, Greeter()):
        await until(lambda: stage.session.realtime.settled)
        await say(stage, "one")
        sent, version = len(stage.sent()), stage.session.chat_ctx.version
        with pytest.raises(kind, match=words):
            await stage.session.handoff(Handoff(Weather(), **how))
        assert len(stage.sent()) == sent
        assert stage.session.chat_ctx.version == version
        assert isinstance(stage.session.agent, Greeter)
        assert stage.of(HandoffStarted) == []


@pytest.mark.behaviour("H21", "H7")
@pytest.mark.parametrize("name", FAILING)
async def test_a_tool_that_cannot_hand_over_has_failed_and_its_agent_goes_on(
    autojump_clock: trio.testing.MockClock, name: str
) -> None:
    """The model is told that it failed, the program is told why."""
    how, kind, _ = FAILING[name]
    desk = Desk(**how)
    async with on_the_stage(limits=SHORT) as stage, running(stage, desk):
        await until(lambda: stage.session.realtime.settled)
        await say(stage, "please transfer")
        await until(lambda: len(stage.of(ReplyEnded)) == 2)
        assert stage.session.agent is desk
        assert len(stage.sent("session.update")) == 1
        assert stage.sent(DELETE) == []
        (failed,) = stage.of(ToolFailed)
        assert isinstance(failed.error, kind)
        kinds = [role for role, _ in held(stage)]
        assert kinds == [
            "user",
            "assistant",
            "function_call",
            "function_call_output",
            "assistant",
        ]


# --- handoffs that fail after a policy was applied -----------------------------------


def for_sunny(event: Any) -> bool:
    return SUNNY in ((event.get("session") or {}).get("instructions") or "")


@pytest.mark.behaviour("H22", "H15")
@reused_or_fresh
@pytest.mark.parametrize("one_way", [0.0, 0.03])
@pytest.mark.parametrize(
    "policy", ["keep", "fresh", last_turns(1), without_calls, summed_up, rewritten]
)
async def test_a_failed_handoff_takes_back_the_note_and_what_its_policy_did(
    autojump_clock: trio.testing.MockClock, policy: Any, fresh: bool, one_way: float
) -> None:
    """The old agent finds the conversation as it was at the decision."""
    fault = reject("session.update", code="invalid_value", nth=None, match=for_sunny)
    server = {"faults": [fault], "network": Network(one_way=one_way)}
    async with on_the_stage(fresh, server=server) as stage, running(stage, Greeter()):
        await until(lambda: stage.session.realtime.settled)
        for text in ("one", "two"):
            await say(stage, text)
        await stage.session.wait_for_playout()
        before = stage.session.chat_ctx
        handoff = Handoff(Weather(), context=policy, note=NOTE, reply="none")
        with pytest.raises(HandoffError, match="invalid_value"):
            await stage.session.handoff(handoff)
        await until(lambda: stage.session.realtime.settled)
        await until(lambda: stage.session.realtime.replying.slot.idle)
        await trio.sleep(1)
        assert stage.session.chat_ctx.is_equivalent(before)
        assert held(stage) == recorded(stage) == HISTORY[:4]


# --- conversations longer than one batch ---------------------------------------------


@pytest.mark.behaviour("H2", "H15")
@pytest.mark.parametrize("policy", ["fresh", last_turns(1), summed_up])
async def test_more_changes_than_one_batch_takes_are_made_by_a_fresh_connection(
    autojump_clock: trio.testing.MockClock, policy: Any
) -> None:
    """The connection is not ended for it, as one whose peer has stopped reading is."""
    long = ChatContext()
    for number in range(20):
        long = long.add_message("user" if number % 2 == 0 else "assistant", "Yes.")
    limits = Limits(outbox_frames=16)
    async with (
        on_the_stage(chat_ctx=long, limits=limits) as stage,
        running(stage, Greeter()),
    ):
        await until(lambda: stage.session.realtime.settled)
        handoff = Handoff(Weather(), context=policy, reply="none")
        timings = await stage.session.handoff(handoff)
        assert timings.why_fresh == "so much of the conversation changes"
        assert len(stage.server.connections) == 2
        assert len(recorded(stage)) == (2 if policy == last_turns(1) else 0) + (
            policy is summed_up
        )
        lost = [event for event in stage.of(ConnectionEnded) if event.will_retry]
        assert lost == []
