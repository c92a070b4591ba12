"""For type checkers only: a delegation returns what its agent declares."""

from __future__ import annotations

from typing import Any, TypeVar, assert_type

from trialogue import Agent, AgentSession, RunContext, function_tool

T = TypeVar("T")


class Consent(Agent[bool]):
    @function_tool
    async def record(self, ctx: RunContext, given: bool) -> None:
        ctx.complete(given)


class Pick(Agent[T]):
    """Gives one of several."""


class Host(Agent):
    """Declares nothing: what it gives is anything."""

    async def on_enter(self, ctx: RunContext) -> Agent:
        return Consent()

    @function_tool
    async def ask(self, ctx: RunContext, city: str) -> Agent | None:
        assert_type(await ctx.session.delegate(Consent()), bool)
        return Host()


async def program(session: AgentSession, host: Host, ctx: RunContext) -> None:
    assert_type(await session.delegate(Consent()), bool)
    assert_type(await session.delegate(Pick[int]("Pick one.")), int)
    assert_type(await session.delegate(Agent[str]("Ask for a name.")), str)
    assert_type(await session.delegate(Host()), Any)
    await session.delegate(Consent)  # type: ignore[arg-type]  # pyright: ignore
    assert_type(await host.ask(ctx, "Oslo"), Agent | None)
    await host.ask(ctx, 1)  # type: ignore[arg-type]  # pyright: ignore
    await session.run(Consent())
