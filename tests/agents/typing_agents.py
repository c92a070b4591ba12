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
