"""For type checkers only: what a program keeps with its session keeps its type."""

from __future__ import annotations

from typing import Any, assert_type

import attrs

from trialogue import (
    Agent,
    AgentSession,
    ChatContext,
    Handoff,
    OpenAIRealtime,
    RunContext,
    function_tool,
    last_turns,
    open_agent_session,
)
from trialogue.events import ApprovalRequested


@attrs.define
class Caller:
    name: str = ""


class Desk(Agent):
    """Annotates its context with the type of what the program keeps."""

    instructions = "You take names."

    async def on_enter(self, ctx: RunContext[Caller]) -> None:
        assert_type(ctx.userdata, Caller)
        assert_type(ctx.session, AgentSession[Caller])
        assert_type(ctx.session.userdata.name, str)
        ctx.userdata.age = 3  # type: ignore[attr-defined]  # pyright: ignore

    @function_tool
    async def take_name(self, ctx: RunContext[Caller], name: str) -> Agent:
        ctx.userdata.name = name
        return Desk()


class Loose(Agent):
    """Does not say what the program keeps: that is anything."""

    async def on_enter(self, ctx: RunContext) -> None:
        assert_type(ctx.userdata, Any)
        assert_type(ctx.session, AgentSession[Any])


def is_much(ctx: RunContext[Caller], arguments: dict[str, Any]) -> bool:
    return bool(arguments["euros"] > 100)


async def is_much_later(ctx: RunContext[Caller], arguments: dict[str, Any]) -> bool:
    return is_much(ctx, arguments)


def forgets_the_arguments(ctx: RunContext[Caller]) -> bool:
    return True


class Bank(Agent):
    """Has some of its calls approved."""

    @function_tool(needs_approval=is_much)
    async def pay(self, ctx: RunContext[Caller], euros: int) -> str:
        return ctx.userdata.name

    @function_tool(needs_approval=is_much_later)
    async def pay_later(self, euros: int) -> str:
        return ""

    @function_tool(needs_approval=True)
    async def pay_all(self) -> None: ...


async def decide(ctx: RunContext[Caller], request: ApprovalRequested) -> bool:
    assert_type(ctx.session, AgentSession[Caller])
    assert_type(request.arguments, str)
    return request.tool == "pay"


async def decides_on_nothing(ctx: RunContext[Caller]) -> bool:
    return True


async def approve(model: OpenAIRealtime) -> None:
    async with open_agent_session(model, userdata=Caller(), approve=decide) as session:
        assert_type(session, AgentSession[Caller])
        assert_type(session.approvals, tuple[ApprovalRequested, ...])
        for request in session.approvals:
            session.deny(request.call_id, reason="no")

    assert_type(await Bank().pay_later(euros=3), str)
    function_tool(needs_approval=forgets_the_arguments)  # type: ignore[arg-type]  # pyright: ignore
    open_agent_session(model, approve=decides_on_nothing)  # type: ignore[arg-type]  # pyright: ignore


def greet(ctx: RunContext[Caller]) -> str:
    return f"Greet {ctx.userdata.name}."


async def look_up(ctx: RunContext[Caller]) -> str:
    return greet(ctx)


def shortened(chat_ctx: ChatContext) -> ChatContext:
    return chat_ctx.copy(exclude_function_calls=True)


async def summed_up(chat_ctx: ChatContext) -> ChatContext:
    return ChatContext().add_message("system", "They talked.")


async def program(model: OpenAIRealtime) -> None:
    async with open_agent_session(model, userdata=Caller("Ann")) as session:
        assert_type(session, AgentSession[Caller])
        assert_type(session.userdata, Caller)
        await session.run(Desk())
        await serve(session)
        await misled(session)  # type: ignore[arg-type]  # pyright: ignore
    async with open_agent_session(model) as bare:
        assert_type(bare, AgentSession[None])
        await bare.run(Agent("You are Mo.", tools=[]))


async def serve(session: AgentSession) -> None:
    """A function that does not care what the program keeps takes any session."""
    await session.handoff(Agent(instructions=greet))
    await session.handoff(Agent(instructions=look_up))
    for policy in (shortened, summed_up, last_turns(2)):
        await session.handoff(Handoff(Desk(), note="Hello.", context=policy))
    await session.handoff(Handoff(Desk(), context="keep", speech="cut", reply="none"))
    Handoff(Desk(), context="all")  # type: ignore[arg-type]  # pyright: ignore
    Handoff(Desk)  # type: ignore[arg-type]  # pyright: ignore


async def misled(session: AgentSession[int]) -> None: ...
