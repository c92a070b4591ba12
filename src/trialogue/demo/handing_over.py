"""One handoff to measure: ten turns of conversation, then a tool that hands over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialogue import Agent, ChatContext, Handoff, RunContext, function_tool
from trialogue.testing import Call, Rule, Say

if TYPE_CHECKING:
    from trialogue.agents.policies import ContextPolicy

__all__ = ["RULES", "TURNS", "Before", "ten_turns"]

_BEFORE = "You are the one who hands the conversation over."
_AFTER = "You are the one who is handed the conversation."

TURNS = 10
"""Turns of the user, each with its answer, that the conversation holds already."""


class After(Agent):
    """Takes over, and speaks first."""

    name = "after"
    instructions = _AFTER

    async def on_enter(self, ctx: RunContext) -> None:
        """Speak, and then end the conversation."""
        await ctx.session.generate_reply(instructions="Say that you are here.")
        ctx.session.end(now=True)

    @function_tool
    async def look_around(self, ctx: RunContext) -> str:
        """A tool of its own, so that tools change in a handoff as well."""
        return "nothing to see"


class Before(Agent):
    """Is told to hand over, and does, with the conversation or without."""

    name = "before"
    instructions = _BEFORE

    def __init__(self, context: ContextPolicy) -> None:
        super().__init__()
        self.context: ContextPolicy = context

    async def on_enter(self, ctx: RunContext) -> None:
        """Have the model call the tool."""
        await ctx.session.generate_reply(instructions="Hand over now.")

    @function_tool
    async def hand_over(self, ctx: RunContext) -> Handoff:
        """Hand the conversation over."""
        return Handoff(After(), context=self.context)


def ten_turns() -> ChatContext:
    """Return the conversation so far."""
    chat_ctx = ChatContext()
    for turn in range(1, TURNS + 1):
        chat_ctx = chat_ctx.add_message("user", f"This is question {turn}.")
        chat_ctx = chat_ctx.add_message("assistant", f"This is answer {turn}.")
    return chat_ctx


RULES = (
    Rule(Call("hand_over"), agent=_BEFORE, override="Hand over"),
    Rule(Say("Here I am.", ms=200), agent=_AFTER),
)
"""What the model says to these two."""
