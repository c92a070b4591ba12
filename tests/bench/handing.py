"""One handoff between two agents at the local server, as a program has it.

The conversation has ten turns, or as many items as are asked for. The first agent is
told to hand over and the model calls its tool; the second speaks first.
"""

from __future__ import annotations

from itertools import islice
from time import process_time
from typing import TYPE_CHECKING, Any, Literal

import attrs
import trio

from bench.byhand import url_of
from trialogue import (
    Agent,
    ChatContext,
    Handoff,
    OpenAIRealtime,
    RunContext,
    function_tool,
    open_agent_session,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialogue import AgentSession
    from trialogue.agents.policies import ContextPolicy

__all__ = [
    "AFTER",
    "BEFORE",
    "HAND_OVER",
    "MODES",
    "Handed",
    "Mode",
    "hand_over",
    "said",
]

BEFORE = "You are the one who hands the conversation over."
AFTER = "You are the one who is handed the conversation."
HAND_OVER = "Hand over now."
PATIENCE = 60.0


@attrs.frozen
class Mode:
    """How a handoff is made.

    Attributes:
        reuse: on the connection that there is, or on a fresh one.
        copy: with the conversation so far, or with an empty one.
        standby: a second connection is open beforehand.
    """

    reuse: bool
    copy: bool
    standby: bool = False

    def __str__(self) -> str:
        first = "reuse" if self.reuse else "standby" if self.standby else "fresh"
        return f"{first} {'copy' if self.copy else 'empty'}"

    @property
    def context(self) -> ContextPolicy:
        return "keep" if self.copy else "fresh"


MODES = tuple(Mode(r, c) for r in (True, False) for c in (True, False))


def said(items: int) -> Iterator[tuple[Literal["user", "assistant"], str]]:
    """Yield who said what, so many times."""
    for number in range(items):
        turn = number // 2 + 1
        if number % 2:
            yield "assistant", f"This is answer {turn}."
        else:
            yield "user", f"This is question {turn}."


def _told(items: int) -> ChatContext:
    """All but the last, which is sent by itself."""
    chat_ctx = ChatContext()
    for role, text in islice(said(items), items - 1):
        chat_ctx = chat_ctx.add_message(role, text)
    return chat_ctx


class After(Agent):
    """Takes over, and speaks first."""

    name = "after"
    instructions = AFTER

    def __init__(self) -> None:
        super().__init__()
        self.spoken = trio.Event()

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Say that you are here.")
        self.spoken.set()

    @function_tool
    async def look_around(self, ctx: RunContext) -> str:
        """A tool of its own, so that tools change in a handoff as well."""
        return "nothing to see"


class Before(Agent):
    """Hands over, with the conversation or without."""

    name = "before"
    instructions = BEFORE

    def __init__(self, context: ContextPolicy) -> None:
        super().__init__()
        self.context: ContextPolicy = context
        self.after = After()
        self.began = 0.0

    @function_tool
    async def hand_over(self, ctx: RunContext) -> Handoff:
        """Hand the conversation over."""
        self.began = process_time()
        return Handoff(self.after, context=self.context)


@attrs.frozen
class Handed:
    """What the client saw of a handoff.

    Attributes:
        reused: the connection was kept.
        why_fresh: else, why not.
        cpu_ms: CPU of this process from the tool's return until the new agent's reply
            was complete and the server had agreed.
        ms: from the tool's return until the first audio of the new agent's reply was
            read.
    """

    reused: bool
    why_fresh: str | None
    cpu_ms: float
    ms: float


async def hand_over(
    port: int,
    mode: Mode,
    items: int = 20,
    *,
    times: int = 1,
    chosen: bool = False,
) -> list[Handed]:
    """Hand over in a conversation of so many items.

    Args:
        times: how often, in the same session; in between it is handed back.
        chosen: the library decides whether the connection is kept, not the mode.
    """
    model = OpenAIRealtime(
        "gpt-realtime",
        api_key="local",
        base_url=url_of(port),
        capabilities={} if mode.reuse or chosen else {"mutable_instructions": False},
    )
    handed: list[Handed] = []
    with trio.fail_after(PATIENCE):
        async with (
            open_agent_session(
                model, chat_ctx=_told(items), standby=mode.standby
            ) as session,
            trio.open_nursery() as nursery,
        ):
            before = Before(mode.context)
            nursery.start_soon(session.run, before)
            for number in range(times):
                if number:  # back, which is not counted
                    before = Before(mode.context)
                    await session.handoff(Handoff(before, reply="none"))
                await _until_entered(session, before, mode)
                # The answer to it comes after all others: then the server is at rest.
                report = await session.send_message("This is the last question.")
                report.raise_for_failures()
                handed.append(await _once(session, before))
            session.end(now=True)
    return handed


async def _until_entered(
    session: AgentSession[Any], before: Before, mode: Mode
) -> None:
    await session.changed.until(
        lambda: (
            session.agent is before
            and session.realtime.settled
            and (not mode.standby or _spare_is_ready(session))
        )
    )


async def _once(session: AgentSession[Any], before: Before) -> Handed:
    await session.generate_reply(instructions=HAND_OVER)
    await before.after.spoken.wait()
    scope = session.scope
    assert scope is not None
    await scope.transition.settled.wait()
    used = process_time() - before.began
    timings = session.handoffs[-1]
    assert timings.next == "after"
    assert timings.first_audio is not None
    took = timings.first_audio - timings.requested
    return Handed(timings.reused, timings.why_fresh, used * 1000, took * 1000)


def _spare_is_ready(session: AgentSession[Any]) -> bool:
    spare = session.realtime.supervisor.spare
    return spare is not None and spare.started
