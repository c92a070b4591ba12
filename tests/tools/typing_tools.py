"""For type checkers only: the decorator keeps the types of what it decorates."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

from trialogue import Agent, Handoff
from trialogue.tools import AnyTool, FunctionTool, ToolSet, function_tool, tool_set

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


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


@tool_set
async def library(city: str, *, floor: int = 0) -> AsyncIterator[list[AnyTool]]:
    yield [plain]


@tool_set(name="shelves", open_timeout=3.0)
async def shelves() -> AsyncIterator[Sequence[FunctionTool[..., str]]]:
    yield []


async def program(desk: Desk, ctx: Context) -> None:
    assert_type(await desk.lookup(ctx, "Lima", days=2), str)
    assert_type(await desk.count(1), int | None)
    assert_type(await plain("Lima"), bytes)
    assert_type(await named("Lima"), bytes)
    assert_type(await Desk.lookup(desk, ctx, "Lima"), str)
    assert_type(await desk.count.invoke(ctx, {}), int | None)
    tools: list[AnyTool] = [desk.lookup, desk.count, plain, named]
    assert tools

    assert_type(await Greeter().transfer(ctx, reason="rain"), Agent | Handoff)
    assert_type(await Porter().transfer(ctx, reason="rain"), Handoff)
    assert_type(await Porter().leave(ctx), Agent)
    assert_type(await Porter.leave(Porter(), ctx), Agent)

    assert_type(library("Oslo", floor=2), ToolSet)
    assert_type(shelves(), ToolSet)
    library(3)  # type: ignore[arg-type]

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
