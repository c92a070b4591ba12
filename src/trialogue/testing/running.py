"""Opening a conversation between an agent and a test, which plays all the others."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

import trio

from trialogue.agents.opening import open_agent_session
from trialogue.audio import MemoryInput, MemoryOutput
from trialogue.errors import ConfigurationError
from trialogue.realtime.openai import OpenAIRealtime
from trialogue.realtime.unwrapping import single
from trialogue.testing.agent_run import AgentRun
from trialogue.testing.caller import Caller, Ears
from trialogue.testing.chronicle import Chronicle
from trialogue.testing.machine import Settings
from trialogue.testing.scripted import Answer, ScriptedModel
from trialogue.testing.server import RealtimeServer
from trialogue.testing.settling import Settling
from trialogue.testing.virtual_time import check_clock, holding_for_threads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from trialogue.agents.agent import Agent
    from trialogue.agents.approving import ApprovalHandler
    from trialogue.agents.guardrails import Guardrail
    from trialogue.agents.session import AgentSession
    from trialogue.agents.userdata import UserDataT
    from trialogue.dialects.options import SessionOptions
    from trialogue.realtime.settings import SessionSettings
    from trialogue.testing.faults import Fault
    from trialogue.testing.network import Network
    from trialogue.testing.script import Brain, Rule, Turn

__all__ = ["run_agent"]

_URL = "ws://localhost/v1/realtime"
_MOST_EVENTS = 1_000_000


class Cast:
    """Knows agents by their instructions, which is all that a model has of them."""

    def __init__(self) -> None:
        self.session: AgentSession[Any] | None = None
        self._names: dict[str, str] = {}

    def name_of(self, turn: Turn) -> str | None:
        """Return the name of the agent that asks."""
        self._look()
        # Instructions of a single reply stand behind the agent's own.
        known = [text for text in self._names if turn.instructions.startswith(text)]
        if any(known):
            return self._names[max(known, key=len)]
        current = None if self.session is None else self.session.scope
        return None if current is None else current.name

    async def watch(self) -> None:
        """Get to know whoever is current, for however short a time."""
        if self.session is not None:
            await self.session.changed.until(self._look)

    def _look(self) -> bool:
        """Learn who is current; nobody is the last."""
        current = None if self.session is None else self.session.scope
        for scope in [] if current is None else reversed(list(current.lineage())):
            self._names[scope.transition.prepared.instructions] = scope.name
        return False

    def pulse(self) -> None:
        """Whoever waits looks again."""
        if self.session is not None:
            self.session.changed.pulse()


@overload
def run_agent(
    agent: Agent,
    rules: Brain | Sequence[Rule] = (),
    *,
    replies: Sequence[Answer] = (),
    userdata: None = None,
    options: SessionOptions | None = None,
    patience: float = 60.0,
    faults: Iterable[Fault] = (),
    network: Network | None = None,
    settings: Settings | None = None,
    on_handoff_error: Literal["restore", "raise"] = "restore",
    barge_in: Literal["provider", "client"] = "provider",
    away_after: float | None = 15.0,
    guardrails: Sequence[Guardrail] = (),
    approve: ApprovalHandler | None = None,
    approval_timeout: float = 60.0,
    tool_timeout: float | None = 60.0,
    max_tool_steps: int | None = 3,
    **session: Unpack[SessionSettings],
) -> AbstractAsyncContextManager[AgentRun[None]]: ...
@overload
def run_agent(
    agent: Agent,
    rules: Brain | Sequence[Rule] = (),
    *,
    replies: Sequence[Answer] = (),
    userdata: UserDataT,
    options: SessionOptions | None = None,
    patience: float = 60.0,
    faults: Iterable[Fault] = (),
    network: Network | None = None,
    settings: Settings | None = None,
    on_handoff_error: Literal["restore", "raise"] = "restore",
    barge_in: Literal["provider", "client"] = "provider",
    away_after: float | None = 15.0,
    guardrails: Sequence[Guardrail] = (),
    approve: ApprovalHandler | None = None,
    approval_timeout: float = 60.0,
    tool_timeout: float | None = 60.0,
    max_tool_steps: int | None = 3,
    **session: Unpack[SessionSettings],
) -> AbstractAsyncContextManager[AgentRun[UserDataT]]: ...
@asynccontextmanager
async def run_agent(
    agent: Agent,
    rules: Brain | Sequence[Rule] = (),
    *,
    replies: Sequence[Answer] = (),
    userdata: Any = None,
    options: SessionOptions | None = None,
    patience: float = 60.0,
    faults: Iterable[Fault] = (),
    network: Network | None = None,
    settings: Settings | None = None,
    on_handoff_error: Literal["restore", "raise"] = "restore",
    barge_in: Literal["provider", "client"] = "provider",
    away_after: float | None = 15.0,
    guardrails: Sequence[Guardrail] = (),
    approve: ApprovalHandler | None = None,
    approval_timeout: float = 60.0,
    tool_timeout: float | None = 60.0,
    max_tool_steps: int | None = 3,
    **session: Unpack[SessionSettings],
) -> AsyncIterator[AgentRun[Any]]:
    """Talk to an agent whose model is played by the test, in this block.

    It begins when the agent has entered and is quiet. Leaving it ends the conversation,
    and demands that the script was played to its end. What the agent's hooks raise is
    raised by the block, as itself. While Trio's worker threads are at work a clock that
    jumps is held; other work outside of Trio needs `hold_clock`.

    Args:
        agent: the one to begin with.
        rules: what the model does where a turn does not say: `Rule`s, of which the
            first that applies answers, or a function of the `Turn`. What no rule covers
            is an error.
        replies: what it does before the user's first turn, response by response.
        userdata: the program's own, handed to hooks and tools.
        options: of the session, as an application gives them to its model.
        patience: seconds (of Trio's clock) that a turn may take.
        faults, network, settings: of the local server; see `RealtimeServer`.
        on_handoff_error, barge_in, away_after: of the session, as all further keywords;
            see `open_agent_session`. The `seed` is 0 unless it is given.
        approve, approval_timeout: the same. Without a handler a turn ends while a call
            waits for approval, so that the test can give it.
        guardrails, tool_timeout, max_tool_steps: the same.

    Raises:
        ScriptError: the script does not fit what the agent did; see `AgentRun.say`.
        TurnUnfinished: the agent's beginning or end takes too long.
        ConfigurationError: an agent has a model of its own, which is in the network.
        RuntimeError: the clock stands still.
    """
    check_clock()
    session.setdefault("seed", 0)
    cast, ears = Cast(), Ears()
    model = ScriptedModel(rules, cast.name_of, cast.pulse)
    server = RealtimeServer(
        model,
        faults=faults,
        network=network,
        # Whatever model the agent is for: the options of each are taken.
        settings=settings if settings is not None else Settings(reasoning=True),
        utterances=ears,
    )
    provider = OpenAIRealtime(
        base_url=_URL, api_key="sk-test", options=options, connect=server.connect
    )
    microphone, speaker = MemoryInput(), MemoryOutput()
    async with (
        server.serving(),
        open_agent_session(
            provider,
            audio=(microphone, speaker),
            userdata=userdata,
            on_handoff_error=on_handoff_error,
            barge_in=barge_in,
            away_after=away_after,
            guardrails=guardrails,
            approve=approve,
            approval_timeout=approval_timeout,
            tool_timeout=tool_timeout,
            max_tool_steps=max_tool_steps,
            **session,
        ) as agents,
        agents.subscribe(buffer=_MOST_EVENTS, on_overflow="raise") as subscription,
    ):
        cast.session = agents
        settling = Settling(agents, model, patience)
        with holding_for_threads(), single():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_hold, agents, agent, settling)
                nursery.start_soon(cast.watch)
                nursery.start_soon(settling.watch)
                nursery.start_soon(_stay_here, agents)
                run = AgentRun(
                    agents,
                    Chronicle(agents, server, model, subscription),
                    Caller(agents, microphone, ears),
                    speaker,
                    settling,
                    nursery,
                )
                await run._open(replies)
                yield run
                await run._finish()
                nursery.cancel_scope.cancel(reason="the test's block was left")


async def _stay_here(session: AgentSession[Any]) -> None:
    """Refuse an agent whose own model would be looked for in the network.

    It is seen in the step in which it is wanted; nothing is sent to it by then.
    """

    def far_away() -> bool:
        wanted = session.realtime.wanted
        return wanted is not None and getattr(wanted.model, "connect", _URL) is None

    await session.changed.until(far_away)
    # Whoever takes over is perhaps not current yet.
    owner = getattr(session.realtime.wanted, "owner", None)
    name = getattr(owner, "name", "the next agent")
    msg = (
        f"{name} has a model of its own, which is far away; give agents their models "
        "from outside, and in a test one that dials run.server.connect, at "
        f"base_url={_URL!r} with any api_key"
    )
    raise ConfigurationError(msg)


async def _hold(session: AgentSession[Any], agent: Agent, settling: Settling) -> None:
    try:
        await session.run(agent)
    finally:
        settling.over = True
        session.changed.pulse()
