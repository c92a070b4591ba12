"""The agent session: one conversation, one realtime session, one agent at a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, Unpack

import trio

from trialogue.agents.approving import Approving
from trialogue.agents.block import Block
from trialogue.agents.delegating import Delegating
from trialogue.agents.ending import Ending
from trialogue.agents.guarding import Guarding
from trialogue.agents.handing_over import HandingOver
from trialogue.agents.logbook import note
from trialogue.agents.playing import Stage
from trialogue.agents.presence import Presence
from trialogue.agents.recording import Recorder
from trialogue.agents.running import Running
from trialogue.agents.speaking import asked_of
from trialogue.agents.stalling import Emptying
from trialogue.agents.step_limit import StepLimit
from trialogue.agents.steps import Steps
from trialogue.agents.tool_sets import ToolSets
from trialogue.agents.tool_settings import ToolSettings
from trialogue.agents.user_turns import UserTurns
from trialogue.agents.userdata import UserDataT
from trialogue.agents.waiting import heard_to_the_end
from trialogue.audio.playout import Playout
from trialogue.realtime.logbook import SessionLog
from trialogue.realtime.session import RealtimeSession
from trialogue.realtime.streaming import DEFAULT_LIMITS, ReplyStream, StreamLimits
from trialogue.realtime.wishes import ReplyOptions, wish_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from trialogue.agents.agent import Agent, Handoff
    from trialogue.agents.events import ApprovalRequested, HandoffTimings
    from trialogue.agents.guardrails import Guardrail
    from trialogue.agents.scope import AgentScope
    from trialogue.agents.states import AgentState, UserState
    from trialogue.audio.base import AudioOutput
    from trialogue.conversation.context import ChatContext
    from trialogue.conversation.items import Role
    from trialogue.dialects.events import Usage
    from trialogue.realtime.broadcast import Subscription
    from trialogue.realtime.commanding import MessageContent
    from trialogue.realtime.metrics import Metrics
    from trialogue.realtime.model import RealtimeModel
    from trialogue.realtime.replies import ReplyOutcome
    from trialogue.realtime.requests import UpdateReport
    from trialogue.realtime.settings import SessionSettings
    from trialogue.records.report import Report
    from trialogue.tools import AnyTool, ToolSet

__all__ = ["AgentSession"]

ResultT = TypeVar("ResultT")


class AgentSession(Generic[UserDataT]):
    """A conversation in which agents take turns; made by `open_agent_session`.

    `AgentSession[MyData]` is one whose `userdata` is a `MyData`.

    Attributes:
        realtime: the realtime session underneath, which outlives every agent.
        userdata: the program's own, handed to hooks and tools.
    """

    def __init__(
        self,
        model: RealtimeModel,
        output: AudioOutput,
        *,
        userdata: UserDataT,
        on_handoff_error: Literal["restore", "raise"] = "restore",
        barge_in: Literal["provider", "client"] = "provider",
        away_after: float | None = 15.0,
        guardrails: Sequence[Guardrail] = (),
        tools: ToolSettings | None = None,
        **settings: Unpack[SessionSettings],
    ) -> None:
        self.model = model
        self.userdata = userdata
        self.scope: AgentScope | None = None
        self.playout = Playout(output)
        self.guarding = Guarding(self, guardrails)
        wall = settings.get("wall") or time.time
        stage = Stage(self, self.playout, barge_in)
        self.realtime = RealtimeSession(model, listener=stage, **settings)
        self.recorder = Recorder(self.realtime.id, wall)
        self._final: tuple[float, ChatContext, Metrics] | None = None
        self.log = SessionLog("trialogue.agents", self.realtime.id)
        self.changed = self.realtime.changed
        self.steps = Steps(self.realtime, self.publish)
        self._turns = UserTurns(self.realtime)
        self.presence = Presence(self, self.playout, self._turns, away_after)
        self.emptying = Emptying(self)
        self.ending = Ending(self, self.playout, self._turns)
        self.running = Running(self, on_handoff_error)
        self.tool_sets = ToolSets(self.log, self.publish)
        self.block = Block(
            self.realtime,
            self.playout,
            self.running,
            self._turns,
            self.presence,
            self.emptying,
            self.ending,
            self.tool_sets,
        )
        self.tool_settings = tools or ToolSettings()
        self.step_limit = StepLimit(self.tool_settings.max_tool_steps)
        self.approving = Approving(self, self.tool_settings)
        self._handing_over = HandingOver(self)
        self._delegating = Delegating(self)

    def __repr__(self) -> str:
        agent = None if self.scope is None else self.scope.name
        return f"<AgentSession agent={agent!r} {self.realtime!r}>"

    # --- what is -------------------------------------------------------------

    @property
    def agent(self) -> Agent | None:
        """The agent that is current, or None."""
        return None if self.scope is None else self.scope.agent

    @property
    def nursery(self) -> trio.Nursery:
        """For work that outlives a handoff; it ends with the session's block."""
        return self.block.nursery

    @property
    def chat_ctx(self) -> ChatContext:
        """The conversation as it is now: an immutable, versioned snapshot."""
        return self.realtime.chat_ctx

    def subscribe(
        self,
        *kinds: type[Any],
        buffer: int | None = None,
        on_overflow: Literal["drop_oldest", "raise"] = "drop_oldest",
    ) -> AbstractAsyncContextManager[Subscription[Any]]:
        """Receive events inside an `async with`; see `RealtimeSession.subscribe`."""
        return self.realtime.subscribe(*kinds, buffer=buffer, on_overflow=on_overflow)

    @property
    def usage(self) -> Usage:
        """The tokens of all responses so far, the cancelled ones included."""
        return self.realtime.usage

    @property
    def metrics(self) -> Metrics:
        """What the session has done, cost and taken up to now: one snapshot."""
        return self.realtime.metrics

    def report(self) -> Report:
        """Return the record of the conversation up to now, as an immutable value.

        At any time: also after the end, outside of Trio as well. Making one of an hour
        takes some milliseconds; the record is kept in any case, in bounded memory.
        """
        now, context, metrics = self._final or self._now()
        return self.recorder.report(now, self.realtime.model.name, context, metrics)

    def remember(self) -> None:
        """The session is over: what Trio's clock is needed for is fixed."""
        self._final = self._now()

    def _now(self) -> tuple[float, ChatContext, Metrics]:
        return trio.current_time(), self.chat_ctx, self.metrics

    def publish(self, event: object) -> None:
        """Hand an event to the subscribers."""
        note(self.log, event)
        self.realtime.publish(event)

    @property
    def handoffs(self) -> list[HandoffTimings]:
        """The timings of each handoff that was agreed, the last thousand of them."""
        return self.steps.timings

    # --- the agents ----------------------------------------------------------

    async def run(self, agent: Agent) -> None:
        """Hold the conversation, beginning with this agent, until it is over.

        It is over after `end()`, or when the audio input has ended and nothing is owed
        any more. Each handoff replaces the agent's scope, and nothing else. When it
        returns, is cancelled or raises, nobody speaks any more: what was being said is
        cut, and what the provider still says on its own is not heard.

        If `end()` came before it, it returns at once, and nobody has begun.

        Raises:
            SessionClosed: the session takes no more work, or a conversation was held in
                it and `end()` has ended it.
            ConfigurationError: the agent cannot be prepared; nothing was sent.
            HandoffError: a handoff failed and the previous agent could not go on.
            HandoffLoop: agents handed over to each other without a word from the user.
            Exception: what an agent's `on_enter` raised.
        """
        await self.running.run(agent)

    async def handoff(self, target: Agent | Handoff) -> HandoffTimings:
        """Hand over to another agent and wait until the server has agreed.

        A second handoff waits for the first to settle. The old agent's present response
        is let finish (at most five seconds).

        Raises:
            HandoffError: it failed, nobody is running, or it was called from inside the
                agent that is current; the message says what to do.
            ConfigurationError: the agent cannot be prepared; nothing was sent.
        """
        return await self._handing_over.hand_over(target)

    def handoff_soon(self, target: Agent | Handoff) -> None:
        """Hand over as soon as possible; synchronous, for use inside an agent."""
        self._handing_over.soon(target)

    async def delegate(self, agent: Agent[ResultT]) -> ResultT:
        """Let another agent be current until it gives a value; return the value.

        For the hooks and tools of the agent that is current. The other one is entered
        like any agent and ends with `ctx.complete(value)`; if it hands over, whoever
        comes in its place is to complete. Meanwhile this agent is suspended: its tools
        work on, but what they return, ask for or hand over to waits. Afterwards its
        instructions, tools and options are restored in one update, without a wait; the
        conversation is kept as it is. Delegations can be nested; of two that are asked
        for at once the second waits for the first.

        Cancelling this call, as a tool's `timeout` does, ends the other agent.

        Raises:
            DelegationError: it was called outside of the agent that is current, or in a
                detached tool, or the agent is running already; nothing was sent.
            ConfigurationError: it is no agent, or cannot be prepared; nothing was sent.
            HandoffError: the server did not agree with the other agent.
            Exception: what the other agent's `on_enter` raised.
        """
        return await self._delegating.delegate(agent)

    async def open_tool_set(self, tool_set: ToolSet) -> tuple[AnyTool, ...]:
        """Open a tool set now, for agents that come later; it stays open to the end.

        Without this it is opened when the first agent that lists it is prepared, and
        whoever waits for that agent waits for the set as well. Of one that is open
        already this gives the tools that are in it now.

        Raises:
            ToolSetError: it could not be opened, or not within its `open_timeout`.
            ConfigurationError: what it yielded is no list of tools.
            SessionClosed: the session takes no more work.
        """
        return await self.tool_sets.open(tool_set)

    # --- approvals -----------------------------------------------------------

    @property
    def approvals(self) -> tuple[ApprovalRequested, ...]:
        """The calls that wait for approval (`needs_approval`), the oldest first."""
        return self.approving.requests

    def approve(self, call_id: str) -> None:
        """Have a call run that waits for approval. Synchronous, from any task.

        Raises:
            ApprovalError: no such call waits; `outcome` says so if it is settled.
            SessionClosed: the session takes no more work.
        """
        self.approving.approve(call_id)

    def deny(self, call_id: str, reason: str = "") -> None:
        """Refuse a call that waits for approval. Synchronous, from any task.

        Args:
            reason: what the model is told of it: "not approved: …".

        Raises:
            ApprovalError: no such call waits; `outcome` says so if it is settled.
            SessionClosed: the session takes no more work.
        """
        self.approving.deny(call_id, reason)

    # --- speech and conversation ---------------------------------------------

    async def generate_reply(
        self,
        *,
        if_busy: Literal["wait", "skip", "raise"] = "wait",
        **options: Unpack[ReplyOptions],
    ) -> ReplyOutcome:
        """Have the current agent reply, and wait until the reply is complete.

        As `RealtimeSession.generate_reply`, with the same options; inside an agent's
        hooks and tools the reply is that agent's. `tools` can narrow the agent's own
        tools, not add to them: only what the agent has is run. A reply that a handoff
        or the user cuts short returns "interrupted" with what was heard.
        """
        wish = wish_for(self.realtime.replying.new_key(), **options)
        asked = asked_of(self, aloud=not wish.command.out_of_band)
        return await self.realtime.reply(wish, if_busy=if_busy, **asked)

    def open_reply(
        self,
        *,
        if_busy: Literal["wait", "skip", "raise"] = "wait",
        limits: StreamLimits = DEFAULT_LIMITS,
        **options: Unpack[ReplyOptions],
    ) -> AbstractAsyncContextManager[ReplyStream]:
        """Have the current agent reply, and take the reply while it is made.

        As `RealtimeSession.open_reply`. The reply is played and its tools are run as
        ever; what the streams give comes beside that.
        """
        wish = wish_for(self.realtime.replying.new_key(), **options)
        asked = asked_of(self, aloud=not wish.command.out_of_band)
        return self.realtime.stream_reply(wish, if_busy=if_busy, limits=limits, **asked)

    # --- the user ------------------------------------------------------------

    @property
    def user_state(self) -> UserState:
        """What the user is doing: "listening", "speaking" or "away" (U5)."""
        return self.presence.user

    @property
    def agent_state(self) -> AgentState:
        """What the agent does: "initializing", "listening", "thinking", "speaking"."""
        return self.presence.agent

    @property
    def muted(self) -> bool:
        """Whether the session's microphone is not listened to. Set it at any time.

        It is read on, so that nothing piles up. Where the provider finds the turns it
        hears silence meanwhile, in which an open turn ends. A turn that was started by
        `start_user_turn` is listened to all the same.
        """
        return self._turns.muted

    @muted.setter
    def muted(self, muted: bool) -> None:
        self._turns.muted = muted

    async def start_user_turn(self) -> None:
        """The user presses the button: what follows is a turn, until it is committed.

        The agent's speech stops in the step in which this is called (`interrupt`), as
        do tools with `on_interrupt="cancel"`, and the microphone is listened to from
        then on. What was said before and belongs to
        no turn is dropped.

        Raises:
            ConfigurationError: the provider finds the turns.
            SessionClosed: the session takes no more work.
        """
        await self._turns.start()

    async def commit_user_turn(
        self, *, reply: bool = True, ack_timeout: float = 5.0
    ) -> UpdateReport:
        """The user lets go of the button: the turn ends, and is answered.

        It ends with what was pushed before this step; a muted microphone is not
        listened to any more. The answer is the agent's that is current when it can be
        made, through any handoff or loss of a connection; it is not waited for. If the
        connection is lost before it took the turn, the next one is given it.

        Args:
            reply: False asks for no answer.
            ack_timeout: seconds to wait for the server's word; without it no answer is
                asked for.

        Raises:
            ServerError: nothing was said (R3), or it was refused otherwise.
            ConfigurationError: the provider finds the turns.
            SessionClosed: the session takes no more work.
        """
        return await self._turns.commit(reply=reply, ack_timeout=ack_timeout)

    async def clear_user_turn(self, *, ack_timeout: float = 5.0) -> UpdateReport:
        """Throw the turn away: nothing of it stays, and nobody answers.

        Raises:
            ConfigurationError: the provider finds the turns.
            SessionClosed: the session takes no more work.
        """
        return await self._turns.clear(ack_timeout=ack_timeout)

    async def send_message(
        self,
        content: MessageContent,
        *,
        role: Role = "user",
        ack_timeout: float = 5.0,
    ) -> UpdateReport:
        """Add a message to the conversation; see `RealtimeSession.send_message`.

        It asks for no reply: `generate_reply` does, and `interrupt` before it stops
        what is being said.
        """
        return await self.realtime.send_message(
            content, role=role, ack_timeout=ack_timeout
        )

    def push_audio(self, pcm: bytes) -> None:
        """Add microphone audio; see `RealtimeSession.push_audio`. Never waits."""
        self.realtime.push_audio(pcm)

    async def update_chat_ctx(
        self, chat_ctx: ChatContext, *, ack_timeout: float = 5.0
    ) -> UpdateReport:
        """Bring the conversation to an edited snapshot; see `RealtimeSession`."""
        return await self.realtime.update_chat_ctx(chat_ctx, ack_timeout=ack_timeout)

    async def update_instructions(
        self, instructions: str, *, ack_timeout: float = 5.0
    ) -> UpdateReport:
        """Change the current agent's instructions, until it hands over."""
        return await self.realtime.update_instructions(
            instructions, ack_timeout=ack_timeout
        )

    def interrupt(self, *, force: bool = False) -> None:
        """Stop what is being said, now; truncated at what was heard.

        Speech that was asked for with `allow_interruptions=False` stays, unless `force`
        is given.
        """
        self.realtime.interrupt(force=force)

    async def wait_for_playout(self) -> bool:
        """Wait until everything that was generated up to now has been played, or cut.

        Returns:
            Whether all of it was heard to its end.
        """
        return await heard_to_the_end(self.playout)

    @property
    def cut_short(self) -> bool:
        """Whether a drain has cut the conversation at its deadline.

        The block of one that was cut is left without an exception; code behind it that
        takes the conversation for a whole one looks at this.
        """
        return self.ending.cut_short

    def end(self, *, now: bool = False) -> None:
        """End the conversation; synchronous, so that a tool may call it.

        What was generated is played out first, for a bounded time; `now=True` cuts it.
        """
        self.ending.ask(now=now)
