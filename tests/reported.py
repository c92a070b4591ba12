"""A conversation with something of everything, and the report of it.

Three agents, a delegation, handoffs, tools (one crashes), an interruption, a lost
connection. Under MockClock it takes no time, and is the same each time.
"""

from __future__ import annotations

import random
from typing import Any

import attrs
import trio
import trio.testing

from stage import Line, Stage, on_stage, until
from trialogue import Agent, RunContext, function_tool
from trialogue.events import (
    AgentStateChanged,
    ConnectionOpened,
    ReplyEnded,
    ToolFinished,
)
from trialogue.records import (
    AgentRecord,
    ConnectionRecord,
    HandoffRecord,
    ItemRecord,
    Report,
    SessionRecord,
    SpeechRecord,
    ToolRecord,
    TurnRecord,
)
from trialogue.testing import Call, Network, Pace, Pause, Say, Settings, Turn, close

__all__ = ["BEGAN", "FORECAST", "Held", "hold_conversation", "long_report"]

BEGAN = 1_800_000_000.0
"""The wall clock's time at which the conversation begins: in January 2027."""
FORECAST = (
    "Tomorrow in Oslo it will be sunny, with a light wind from the west and fourteen "
    "degrees in the afternoon, and the evening stays mild until about ten o'clock."
)


class Kelly(Agent):
    """Greets, and says goodbye once she may."""

    name = "Kelly"
    instructions = "You are Kelly, a friendly greeter."

    def __init__(self, *, returning: bool = False) -> None:
        super().__init__()
        self.returning = returning

    async def on_enter(self, ctx: RunContext) -> None:
        again = "Say that it is you again." if self.returning else "Greet the caller."
        await ctx.session.generate_reply(instructions=again)

    @function_tool
    async def transfer_to_weather(self, ctx: RunContext) -> Agent:
        """Transfer to the weather specialist."""
        return Sunny()

    @function_tool
    async def ask_for_consent(self, ctx: RunContext) -> str:
        """Ask whether the call may be kept."""
        return "yes" if await ctx.session.delegate(Consent()) else "no"


class Sunny(Agent):
    """Looks things up."""

    name = "Sunny"
    instructions = "You are Sunny, a weather specialist."

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Introduce yourself.")

    @function_tool
    async def lookup_weather(self, ctx: RunContext, location: str, day: str) -> str:
        """Look up the weather.

        Args:
            location: City or region.
            day: Which day.
        """
        await trio.sleep(0.7)
        if day == "Sunday":
            raise LookupError("no forecast beyond four days")
        return FORECAST

    @function_tool
    async def transfer_to_greeter(self, ctx: RunContext) -> Agent:
        """Transfer back to the greeter."""
        return Kelly(returning=True)


class Consent(Agent[bool]):
    """Asks one thing."""

    name = "Consent"
    instructions = "You ask whether the call may be kept."

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Ask for consent.")

    @function_tool
    async def note_consent(self, ctx: RunContext, given: bool) -> str:
        """Write down what the user said."""
        ctx.complete(given)
        return "written down"


def _brain(turn: Turn) -> Any:
    """Says what the agent whose instructions are in force would say."""
    override, words = turn.override or "", turn.user_text
    if "Kelly" in turn.instructions:
        if "again" in override:
            return Say("Kelly again. Before you go, I have a question for you.")
        if "Greet" in override:
            return Say("Good morning, this is Kelly. How can I help you?")
        if turn.output is not None:
            return Say("Thank you. Have a nice day, and goodbye.")
        if "Go ahead" in words:
            return Call("ask_for_consent")
        return [Say("I will take you to Sunny."), Call("transfer_to_weather")]
    if "Sunny" in turn.instructions:
        if "Introduce" in override:
            return Say("Hello, I am Sunny. For which city shall I look it up?")
        if turn.output is not None:
            sorry = "I am sorry, Sunday is too far away for me."
            return Say(turn.output if "sunny" in turn.output else sorry)
        if "thank you" in words:
            return [Say("Then back to Kelly."), Call("transfer_to_greeter")]
        day = "Sunday" if "Sunday" in words else "tomorrow"
        return [Pause(0.4), Call("lookup_weather", {"location": "Oslo", "day": day})]
    if "consent" in override:
        return Say("May we keep a recording of this call?")
    return Call("note_consent", {"given": True})


@attrs.define(eq=False)
class Held:
    """A conversation that was held, and what is known of it from elsewhere.

    Attributes:
        report: made after its end, outside of Trio's run.
        live: made while an agent was being interrupted.
        said: when the caller's words began and ended, and what they were; seconds since
            the session began to open.
        heard: each sound of the agents', from when to when.
    """

    stage: Stage
    zero: float
    seconds: float = 0.0
    live: Report | None = None
    said: list[tuple[float, float, str]] = attrs.field(factory=list)

    @property
    def report(self) -> Report:
        return self.stage.session.report()

    @property
    def heard(self) -> list[tuple[float, float]]:
        return [
            (run.time - self.zero, run.end - self.zero)
            for run in self.stage.output.runs
        ]


def hold_conversation() -> Held:
    """Hold the conversation in a Trio run of its own, in virtual time."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(conversation, clock=clock)


async def conversation() -> Held:
    """Hold the conversation."""
    await trio.sleep(1000)  # moments of the clock are none of the conversation
    zero = trio.current_time()
    async with on_stage(
        _brain,
        microphone=True,
        server={
            "network": Network(one_way=0.03),
            "settings": Settings(pace=Pace(think_ms=320)),
        },
        wall=lambda: BEGAN,
        seed=7,
        away_after=None,
    ) as stage:
        with trio.fail_after(300):
            async with trio.open_nursery() as nursery:
                held = Held(stage, zero)
                nursery.start_soon(_call, stage, held)
                await stage.session.run(Kelly())
                nursery.cancel_scope.cancel()
    held.seconds = trio.current_time() - zero
    return held


async def _call(stage: Stage, held: Held) -> None:
    """The caller's side."""
    assert stage.microphone is not None
    line = Line(stage.microphone)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.run)

        def say(text: str) -> None:
            began = trio.current_time() - held.zero
            ended = line.say(stage.server.utterances.say(text, ms=55 * len(text)))
            held.said.append((began, ended - held.zero, text))

        async def silence() -> None:
            """Wait until an agent has said something, and stops."""

            def over() -> bool:
                changes = stage.of(AgentStateChanged)
                return bool(changes) and changes[-1].new == "listening"

            await until(lambda: not over())
            await until(over)
            await trio.sleep(0.8)

        await until(lambda: stage.output.pcm)
        await silence()
        say("What will the weather be like?")
        await until(lambda: stage.of(ToolFinished))
        await trio.sleep(3)
        await silence()
        say("Oslo, please. What about tomorrow?")
        await until(lambda: len(stage.of(ToolFinished)) == 2)
        await trio.sleep(5)  # the forecast is being told
        held.live = stage.session.report()
        say("And what about Sunday?")
        await until(lambda: len(stage.of(ToolFinished)) == 3)
        await silence()
        lost = close(1011, reason="internal error", after="input_audio_buffer.append")
        stage.server.inject(lost)
        await until(lambda: stage.of(ConnectionOpened))
        await trio.sleep(2)
        say("No, thank you, that is all.")
        await until(lambda: len(stage.of(ToolFinished)) == 4)
        await silence()
        say("Go ahead.")
        await until(lambda: any(r.agent == "Consent" for r in stage.of(ReplyEnded)))
        await silence()
        say("Yes, of course.")
        await until(lambda: len(stage.of(ToolFinished)) == 6)
        await silence()
        stage.session.end()
        await trio.sleep_forever()


def long_report(minutes: int = 60, agents: int = 3, seed: int = 1) -> Report:
    """Make up a report of a long conversation: some thousand items in an hour."""
    source = random.Random(seed)
    names = ["Kelly", "Sunny", "Carla", "Bernard", "Dora", "Emil", "Fay", "Gus", "Hal"]
    at, number = 1.0, 0
    items: list[ItemRecord] = []
    turns: list[TurnRecord] = []
    spoken: list[SpeechRecord] = []
    current: list[AgentRecord] = [AgentRecord(agent="Kelly", began=0.5)]
    calls: list[ToolRecord] = []
    handoffs: list[HandoffRecord] = []
    while at < minutes * 60 - 20:
        number += 1
        if number % 97 == 0:
            at += 400  # nobody says a word
        agent = current[-1].agent
        ended = at + source.uniform(0.8, 4)
        wait = source.uniform(0.3, 1.1) if number % 11 else source.uniform(1.5, 3.5)
        heard = ended + wait
        user, answer = f"user_{number}", f"answer_{number}"
        turns.append(
            TurnRecord(
                began=at, ended=ended, answered=heard, answered_by=agent, item_id=user
            )
        )
        items.append(
            ItemRecord(
                id=user,
                kind="message",
                role="user",
                at=ended,
                text=f"Question {number}?",
            )
        )
        if number % 3 == 0:
            call = f"call_{number}"
            calls.append(
                ToolRecord(
                    call_id=call,
                    tool="look_up",
                    agent=agent,
                    began=ended,
                    ended=heard - 0.1,
                    seconds=wait - 0.1,
                    outcome="Returned" if number % 9 else "Crashed",
                    arguments=f'{{"number":{number}}}',
                    output="found",
                )
            )
            items.append(
                ItemRecord(
                    id=f"item_{call}",
                    kind="function_call",
                    at=ended,
                    agent=agent,
                    call_id=call,
                    tool="look_up",
                    text=f'{{"number":{number}}}',
                )
            )
        over = heard + source.uniform(1, 9)
        cut = number % 7 == 0
        words = "This is an answer of some length, as they are. " * source.randint(1, 3)
        items.append(
            ItemRecord(
                id=answer,
                kind="message",
                role="assistant",
                agent=agent,
                at=heard,
                text=words,
                heard_ms=round((over - heard) * 1000) if cut else None,
            )
        )
        spoken.append(
            SpeechRecord(
                item_id=answer,
                response_id=f"resp_{number}",
                agent=agent,
                began=heard,
                ended=over,
                interrupted=cut,
            )
        )
        if number % 8 == 0:
            following = names[(number // 8) % agents]
            current[-1] = attrs.evolve(current[-1], ended=heard)
            current.append(AgentRecord(agent=following, began=heard, previous=agent))
            handoffs.append(
                HandoffRecord(
                    previous=agent,
                    next=following,
                    committed=heard,
                    acknowledged=heard + 0.1,
                    first_audio=heard + 0.6,
                )
            )
        at = over + source.uniform(0.2, 2)
    return Report(
        session=SessionRecord(
            id="tri_00000000",
            model="gpt-realtime",
            library="0.1.0",
            began=BEGAN,
            seconds=minutes * 60.0,
            end="input_ended",
        ),
        items=tuple(items),
        turns=tuple(turns),
        agents=tuple(current),
        speech=tuple(spoken),
        tools=tuple(calls),
        handoffs=tuple(handoffs),
        connections=(
            ConnectionRecord(generation=1, reason="first", opened=0.2, ended=1500.0),
            ConnectionRecord(generation=2, reason="rotation", opened=1499.0),
        ),
    )
