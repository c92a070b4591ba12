"""A small cast for the tests of the testing kit: a shop's desk, and its refunds."""

from __future__ import annotations

import threading

import trio

from trialogue import Agent, RunContext, ToolError, function_tool

__all__ = ["Consent", "Desk", "Refunds"]


class Refunds(Agent):
    """Speaks first."""

    instructions = "You give money back."

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Say who you are.")


class Consent(Agent[bool]):
    """Asks, and gives back what was answered."""

    instructions = "You ask for consent."

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply()

    @function_tool
    async def answered(self, ctx: RunContext, consents: bool) -> None:
        """Take down what the caller answers."""
        ctx.complete(consents)


class Desk(Agent):
    """Has a tool for everything that can happen."""

    instructions = "You find out what a caller needs."

    @function_tool
    async def look_up(self, ctx: RunContext, order: int, *, year: int = 2026) -> str:
        """Look up an order."""
        await trio.sleep(2)
        return f"order {order} of {year} is paid"

    @function_tool
    async def count(self) -> str:
        """Count in a thread, which no clock of Trio's knows of."""
        await trio.to_thread.run_sync(threading.Event().wait, 0.05)
        return "counted"

    @function_tool
    async def deny(self) -> str:
        """Fail in a way that the model is to know of."""
        raise ToolError("the till is closed")

    @function_tool
    async def crash(self) -> str:
        """Fail in a way that nobody expects."""
        raise KeyError("till")

    @function_tool
    async def dawdle(self) -> None:
        """Never return."""
        await trio.sleep_forever()

    @function_tool(on_handoff="detach")
    async def search(self) -> str:
        """Go on searching, whoever is current."""
        await trio.sleep(20)
        return "found"

    @function_tool
    async def ask_consent(self, ctx: RunContext) -> str:
        """Ask whether the caller consents."""
        return f"consent: {await ctx.session.delegate(Consent())}"

    @function_tool
    async def to_refunds(self) -> Agent:
        """Transfer to refunds."""
        return Refunds()

    @function_tool
    async def hang_up(self, ctx: RunContext) -> str:
        """End the conversation."""
        ctx.session.end()
        return "bye"
