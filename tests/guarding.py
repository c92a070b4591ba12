"""Guardrails for tests, and what remains of a conversation that they watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from stage import KELLY, PROMPT
from trialogue import (
    Agent,
    Guardrail,
    Message,
    ReplyOutcome,
    RunContext,
    Trip,
    function_tool,
    input_guardrail,
    output_guardrail,
)
from trialogue.events import GuardrailTripped
from trialogue.testing import Network, Pace, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stage import Stage

__all__ = [
    "Looked",
    "Talker",
    "finding",
    "hearing",
    "one_trip",
    "paced",
    "played",
    "silent_since",
    "spoken",
]


@attrs.define(eq=False)
class Looked:
    """What a guardrail was given, and what became of its checks."""

    texts: list[str] = attrs.field(factory=list)
    under_way: int = 0
    most: int = 0
    cancelled: int = 0

    async def look(self, text: str, seconds: float) -> None:
        self.texts.append(text)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            if seconds:
                await trio.sleep(seconds)
        except trio.Cancelled:
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1


def finding(
    word: str,
    seconds: float = 0.0,
    looked: Looked | None = None,
    *,
    length: int = 10,
    whole: bool = False,
    name: str = "finds",
    timeout: float = 20.0,
    **trip: Any,
) -> Guardrail:
    """Return an output guardrail that takes its time, and trips on a word.

    With `whole` it is given each message once, at its end.
    """
    looked = looked or Looked()

    @output_guardrail(
        name=name,
        debounce_text_length=10_000 if whole else length,
        sentence_ends=not whole,
        timeout=timeout,
    )
    async def finds(ctx: RunContext, text: str) -> Trip | None:
        await looked.look(text, seconds)
        return Trip(f"said {word}", **trip) if word in text else None

    return finds


def hearing(
    word: str,
    seconds: float = 0.0,
    looked: Looked | None = None,
    *,
    name: str = "hears",
    **trip: Any,
) -> Guardrail:
    """Return an input guardrail that takes its time, and trips on a word."""
    looked = looked or Looked()

    @input_guardrail(name=name)
    async def hears(ctx: RunContext, text: str) -> Trip | None:
        await looked.look(text, seconds)
        return Trip(f"heard {word}", **trip) if word in text else None

    return hears


class Talker(Agent):
    """Asks for a reply as it enters, and has a tool that takes its time."""

    instructions = KELLY

    def __init__(self, *guardrails: Guardrail) -> None:
        super().__init__(guardrails=guardrails)
        self.outcome: ReplyOutcome | None = None
        self.ran: list[str] = []

    async def on_enter(self, ctx: RunContext) -> None:
        self.outcome = await ctx.session.generate_reply(instructions=PROMPT)

    @function_tool
    async def work(self, ctx: RunContext, seconds: float = 0.0) -> str:
        """Work for a while."""
        self.ran.append("work")
        await trio.sleep(seconds)
        return "worked"


def paced(burst: float = 10.0, one_way: float = 0.0, **pace: Any) -> dict[str, Any]:
    """Return the keywords of a server that makes speech so fast, so far away."""
    return {
        "settings": Settings(pace=Pace(burst=burst, **pace)),
        "network": Network(one_way=one_way),
    }


def played(stage: Stage) -> list[int]:
    """Return how much of each item was played, in milliseconds, in order."""
    marks = [mark.item for mark, *_ in stage.server.heard(stage.output.pcm)]
    return [10 * marks.count(item) for item in dict.fromkeys(marks)]


def spoken(stage: Stage) -> list[tuple[str, int | None]]:
    """Return what agents said, with how much of it was heard if it was cut."""
    return [
        (item.text, item.heard_ms)
        for item in stage.session.chat_ctx
        if isinstance(item, Message) and item.role == "assistant"
    ]


def one_trip(stage: Stage) -> GuardrailTripped:
    """Return the trip of a conversation that had one."""
    tripped: Sequence[GuardrailTripped] = stage.of(GuardrailTripped)
    (trip,) = tripped
    return trip


def silent_since(stage: Stage) -> float:
    """Return when the last sound was played (Trio's clock)."""
    return max((run.end for run in stage.output.runs), default=0.0)
