"""Agents that delegate, and agents that are delegated to, for tests on the stage."""

from __future__ import annotations

from typing import Any

import trio

from stage import Prompted, until
from trialogue import Agent, RunContext, function_tool
from trialogue.agents.events import DelegationEnded
from trialogue.realtime.notices import ReplyEnded
from trialogue.testing import Call

__all__ = [
    "Caller",
    "Doing",
    "asks",
    "current",
    "done",
    "endless",
    "giving",
    "named",
    "nothing",
    "spoken",
    "wanted",
    "wrote",
]


def wanted(stage: Any) -> str:
    """Return the instructions that the session should have."""
    instructions: str = stage.session.realtime.wanted.instructions
    return instructions


def named(stage: Any) -> str:
    """Return the name of whoever is current, or ""."""
    agent = stage.session.agent
    return "" if agent is None else agent.name or type(agent).__name__


def spoken(stage: Any) -> list[tuple[str, str]]:
    """Return (agent, words) of each reply that ended; one more if there is none."""
    replies = [(e.agent, e.outcome.text) for e in stage.of(ReplyEnded)]
    return replies or [("", "")]


async def wrote(stage: Any, words: str) -> None:
    """Write something as the user, and have whoever is current reply."""
    edited = stage.session.chat_ctx.add_message("user", words)
    report = await stage.session.update_chat_ctx(edited)
    report.raise_for_failures()
    await stage.session.generate_reply()


async def current(stage: Any, agent: type[Agent]) -> None:
    await until(lambda: isinstance(stage.session.agent, agent))
    await until(lambda: not any(stage.session.realtime.open_work.values()))


class Doing(Agent):
    """Does what it is told to when it enters."""

    instructions = "You are doing what you are told to."

    def __init__(self, what: Any, name: str = "Doing") -> None:
        super().__init__(name=name)
        self.what = what
        self.result: Any = None

    async def on_enter(self, ctx: RunContext) -> Any:
        self.result = await self.what(ctx)
        return self.result if isinstance(self.result, Agent) else None


async def endless(ctx: RunContext) -> None:
    """Stay for ever."""
    await trio.sleep_forever()


async def nothing(ctx: RunContext) -> None:
    """Do nothing."""


def giving(value: Any) -> Any:
    async def give(ctx: RunContext) -> None:
        ctx.complete(value)

    return give


class Caller(Prompted):
    """Calls a tool when it enters, which delegates to whoever it was given."""

    instructions = "You are Kelly, the caller."

    def __init__(self, *agents: Agent) -> None:
        super().__init__()
        self.agents = list(agents)
        self.got: list[Any] = []
        self.errors: list[BaseException] = []

    @function_tool
    async def ask(self, ctx: RunContext, number: int = 0) -> str:
        """Ask one of the agents."""
        try:
            self.got.append(await ctx.session.delegate(self.agents[number]))
        except Exception as error:
            self.errors.append(error)
            raise
        return f"got {self.got[-1]}"

    @function_tool(timeout=2.0)
    async def ask_briefly(self, ctx: RunContext) -> str:
        """Ask, for two seconds at most."""
        return f"got {await ctx.session.delegate(self.agents[0])}"

    @function_tool(on_handoff="detach")
    async def ask_detached(self, ctx: RunContext) -> str:
        """Ask from a tool that outlives its agent."""
        try:
            await ctx.session.delegate(self.agents[0])
        except Exception as error:
            self.errors.append(error)
        return "asked"

    @function_tool
    async def work(self, ctx: RunContext, seconds: float) -> str:
        """Work."""
        await trio.sleep(seconds)
        return f"worked {seconds:g} s"


async def done(stage: Any, agent: str) -> None:
    """Wait until an agent is current again, has spoken last, and all is quiet."""
    realtime = stage.session.realtime
    await until(lambda: stage.of(DelegationEnded))
    await until(lambda: named(stage) == agent)
    await until(lambda: spoken(stage)[-1][1] == "Done.")
    await until(lambda: not any(realtime.open_work.values()))


def asks(*numbers: int) -> list[Call]:
    return [Call("ask", {"number": number}) for number in numbers]
