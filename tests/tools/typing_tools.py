"""For type checkers only: the decorator keeps the types of what it decorates."""

from __future__ import annotations

from typing import Any, assert_type

from trialogue import Agent, Handoff
from trialogue.tools import FunctionTool, function_tool


class Context: ...


class Desk:
    @function_tool
    async def lookup(self, ctx: Context, city: str, days: int = 1) -> str:
        return city * days

    @function_tool(timeout=2, on_handoff="finish")
    async def count(self, n: int) -> int | None:
        return n


class Greeter(Agent):
    @function_tool
    async def transfer(self, ctx: Context, reason: str = "") -> Agent | Handoff:
        return self

    @function_tool(timeout=2)
    async def leave(self, ctx: Context) -> Agent | Handoff:
        return self


class Porter(Greeter):
    """A subclass overrides a tool as it does any method."""

    @function_tool
    async def transfer(self, ctx: Context, reason: str = "") -> Handoff:
        assert_type(await super().transfer(ctx, reason="rain"), Agent | Handoff)
        return Handoff(self)

    @function_tool(timeout=1)
    async def leave(self, ctx: Context) -> Agent:
        return self


@function_tool
async def plain(city: str) -> bytes:
    return city.encode()


@function_tool(name="other")
async def named(city: str) -> bytes:
    return city.encode()


async def program(desk: Desk, ctx: Context) -> None:
    assert_type(await desk.lookup(ctx, "Lima", days=2), str)
    assert_type(await desk.count(1), int | None)
    assert_type(await plain("Lima"), bytes)
    assert_type(await named("Lima"), bytes)
    assert_type(await Desk.lookup(desk, ctx, "Lima"), str)
    assert_type(await desk.count.invoke(ctx, {}), int | None)
    tools: list[FunctionTool[..., Any]] = [desk.lookup, desk.count, plain, named]
    assert tools

    assert_type(await Greeter().transfer(ctx, reason="rain"), Agent | Handoff)
    assert_type(await Porter().transfer(ctx, reason="rain"), Handoff)
    assert_type(await Porter().leave(ctx), Agent)
    assert_type(await Porter.leave(Porter(), ctx), Agent)

    await Porter().transfer(ctx, reason=3)  # type: ignore[arg-type]
    await desk.lookup(ctx, 3)  # type: ignore[arg-type]
    await desk.lookup("Lima")  # type: ignore[call-arg, arg-type]
    await plain()  # type: ignore[call-arg]

    @function_tool  # type: ignore[arg-type, type-var]
    def sync(city: str) -> str:
        return city

    @function_tool(on_handoff="never")  # type: ignore[call-overload, untyped-decorator, unused-ignore]
    async def wrong(city: str) -> str:
        return city
