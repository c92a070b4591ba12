"""The agent session: one conversation, one realtime session, one agent at a time."""

from __future__ import annotations

import itertools
import math
from collections import deque
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, Unpack

import trio

from trialogue.agents.events import (
    HandoffCompleted,
    HandoffFailed,
    HandoffMeasured,
    HandoffStarted,
    HandoffTimings,
    ScopeStalled,
)
from trialogue.agents.handoff import (
    BUDGET,
    MOST_WITHOUT_USER,
    Transition,
    configuration_of,
    decide,
    measure,
    remedy,
    undone,
    why_fresh,
)
from trialogue.agents.logbook import note
from trialogue.agents.playing import Stage
from trialogue.agents.preparing import as_handoff, prepare
from trialogue.agents.run_context import RunContext, current_scope, current_turn
from trialogue.agents.scope import AgentScope
from trialogue.audio.memory import NullOutput
from trialogue.audio.playout import AudioRefused, Playout
from trialogue.conversation.items import (
    Item,
    Message,
    TextContent,
)
from trialogue.dialects.commands import CreateResponse
from trialogue.errors import HandoffError, HandoffLoop, SessionClosed
from trialogue.realtime.logbook import SessionLog
from trialogue.realtime.opening import running_session
from trialogue.realtime.session import RealtimeSession
from trialogue.realtime.streaming import DEFAULT_LIMITS, ReplyStream, StreamLimits
from trialogue.realtime.unwrapping import single
from trialogue.realtime.wishes import ReplyOptions, wish_for
from trialogue.tools import render

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from trialogue.agents.agent import Agent, Handoff
    from trialogue.agents.calls import OpenCall
    from trialogue.audio.base import AudioInput, AudioOutput
    from trialogue.conversation.context import ChatContext
    from trialogue.dialects.events import Usage
    from trialogue.realtime.broadcast import Subscription
    from trialogue.realtime.ledger import UpdateReport
    from trialogue.realtime.metrics import Metrics
    from trialogue.realtime.model import RealtimeModel
    from trialogue.realtime.replies import ReplyOutcome
    from trialogue.realtime.settings import SessionSettings

__all__ = ["AgentSession", "open_agent_session"]

LINGER = 2.0
"""Seconds of silence after the input's end before the conversation may be over: the
server may just have heard a last sentence."""
ENDING = 30.0
"""Seconds that generated speech gets to play out after `end()`."""
STALLED = 1.0
"""Seconds after which a cancelled scope that is not empty is spoken of."""
EXIT = 5.0
"""Seconds that `on_exit` gets."""
SILENCE = bytes(4800)
"""100 ms; what a line carries while nobody speaks."""


class AgentSession:
    """A conversation in which agents take turns; made by `open_agent_session`.

    Attributes:
        realtime: the realtime session underneath, which outlives every agent.
        userdata: the program's own, handed to hooks and tools.
    """

    def __init__(
        self,
        model: RealtimeModel,
        output: AudioOutput,
        *,
        userdata: Any = None,
        on_handoff_error: Literal["restore", "raise"] = "restore",
        **settings: Unpack[SessionSettings],
    ) -> None:
        self.model = model
        self.userdata = userdata
        self.ending = False
        self.scope: AgentScope | None = None
        self._playout = Playout(output)
        self._stage = Stage(self, self._playout)
        self.realtime = RealtimeSession(model, listener=self._stage, **settings)
        self.log = SessionLog("trialogue.agents", self.realtime.id)
        self.changed = self.realtime.changed
        self._playout.on_finished = self._played
        self._playout.on_refused = self._refused
        self._on_handoff_error = on_handoff_error
        self._nursery: trio.Nursery | None = None
        self._input_ended_at = math.inf
        self._last_refused: str | None = None
        self._without_user = 0
        self._measured: deque[HandoffTimings] = deque(maxlen=1000)
        self._latest: Transition | None = None
        self._running = False
        self._run = trio.CancelScope()
        self._end_by = math.inf
        self._handing_over = trio.Lock()

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
        if self._nursery is None:
            msg = "this session's block has been left; open another session"
            raise SessionClosed(msg)
        return self._nursery

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

    def publish(self, event: object) -> None:
        """Hand an event to the subscribers."""
        note(self.log, event)
        self.realtime.publish(event)

    @property
    def handoffs(self) -> list[HandoffTimings]:
        """The timings of each handoff that was agreed, the last thousand of them."""
        return [*self._measured, *self._being_measured()]

    def _being_measured(self) -> list[HandoffTimings]:
        timings = None if self._latest is None else self._latest.timings
        return [] if timings is None else [timings]

    # --- the run loop --------------------------------------------------------

    async def run(self, agent: Agent) -> None:
        """Hold the conversation, beginning with this agent, until it is over.

        It is over after `end()`, or when the audio input has ended and nothing is owed
        any more. Each handoff replaces the agent's scope, and nothing else.

        Raises:
            ConfigurationError: the agent cannot be prepared; nothing was sent.
            HandoffError: a handoff failed and the previous agent could not go on.
            HandoffLoop: agents handed over to each other without a word from the user.
            Exception: what an agent's `on_enter` raised.
        """
        self.realtime.check_open()
        if self._running:
            msg = "this session is already running an agent; use session.handoff(agent)"
            raise HandoffError(msg)
        self._running = True
        try:
            with trio.CancelScope() as self._run:
                transition: Transition | None = await self._first(agent)
                while transition is not None:
                    transition = await self._stage_one(transition)
        finally:
            self._running = False
            self._abandon(self.scope)
            self.scope = None
            self.changed.pulse()

    def _abandon(self, scope: AgentScope | None) -> None:
        """The run is over: whoever waits for a handoff is told."""
        pending = () if scope is None else (scope.transition, scope.decision)
        for transition in pending:
            if transition is not None:
                msg = f"the run ended before {transition.name} had taken over"
                transition.finish(HandoffError(msg, next=transition.name))
        if scope is not None and scope.decision is not None:
            # Decided, and cut short before the next agent's burst could carry them.
            self.leave_outputs(scope.decision.outputs)
            config = scope.decision.config
            if config is not None and not config.ready:
                # Nobody will begin under it: a connection must not wait for that.
                supervisor = self.realtime.supervisor
                supervisor.give_up(config, HandoffError("the run has ended"))

    async def _first(self, agent: Agent) -> Transition:
        handoff = as_handoff(agent)
        if handoff is None:
            msg = f"run() needs an agent, not {agent!r}"
            raise HandoffError(msg)
        return Transition(await prepare(self, handoff))

    async def _stage_one(self, transition: Transition) -> Transition | None:
        scope = AgentScope(self, transition)
        scope.patience.deadline = self._end_by
        if transition.config is None:
            transition.config = configuration_of(
                transition.prepared, scope, ready=True, deadline=math.inf
            )
        transition.config.owner = scope
        self.scope = scope
        try:
            following = await scope.run()
            # Whoever keeps this scope (an old response, the error of a connection that
            # was lost) would keep with it all that come after.
            scope.decision = None
        except HandoffError as error:
            if error is not transition.error:
                raise
            following = self._return(transition, error)
        finally:
            if self._nursery is not None:
                self._nursery.start_soon(self._exit, scope)
        if following is None and self._nursery is not None:
            # Nothing follows that it could run beside; the session may be left next.
            await scope.exited.wait()
        return following

    async def _exit(self, scope: AgentScope) -> None:
        try:
            with trio.move_on_after(EXIT):
                await scope.agent.on_exit(RunContext(self, scope.agent))
        finally:
            scope.exited.set()

    def _return(self, failed: Transition, error: HandoffError) -> Transition:
        """A handoff failed: the previous agent goes on as if it had never left."""
        previous = failed.previous
        before = None if previous is None else previous.name
        self.publish(HandoffFailed(before, failed.name, str(error)))
        if previous is None or failed.restores or self._on_handoff_error == "raise":
            raise error
        restored = Transition(
            previous.prepared,
            previous=previous.previous,
            enters=False,
            owed=failed.speaks or failed.group is not None,
            restores=True,
        )
        restored.edited = undone(self.realtime, failed)
        return restored

    # --- the steps of a handoff ----------------------------------------------

    def commit(
        self, scope: AgentScope, transition: Transition, requested: float
    ) -> None:
        """The decision: from this step on the next agent's configuration is wanted.

        Raises:
            HandoffLoop: too many handoffs without a word from the user.
        """
        self._without_user += 1
        if self._without_user > MOST_WITHOUT_USER:
            msg = (
                f"{self._without_user} handoffs without a word from the user; an "
                "agent's on_enter or instructions send the talk round in circles"
            )
            raise HandoffLoop(msg, previous=scope.name, next=transition.name)
        decide(self.realtime, scope.name, transition, requested)
        self.publish(HandoffStarted(scope.name, transition.name, transition.why_fresh))

    def activate(self, scope: AgentScope) -> None:
        """The burst: one batch, after the old scope is empty, before the new begins."""
        transition = scope.transition
        if transition.timings is not None:
            # NB: emptying the old scope takes its program's time, not the server's.
            scope.config.deadline = trio.current_time() + BUDGET
        elif why_fresh(
            self.realtime, scope.config, edits_context=transition.edited is not None
        ):
            # Nobody decided on this one: what serves may be of no use to it.
            self.realtime.replace_connection()
        self.realtime.activate(scope.config, transition.outputs, transition.edited)
        if transition.owed:
            self.realtime.replying.owed = True
            self.realtime.replying.advance()

    def handoff_settled(self, transition: Transition) -> None:
        """The server agreed with the new agent's configuration."""
        measure(self.realtime, transition)
        if transition.timings is not None:
            self._measured += self._being_measured()
            self._latest = transition
            self.publish(HandoffCompleted(transition.timings))
        transition.finish()
        self.changed.pulse()

    def first_audio(self, transition: Transition, at: float) -> None:
        """A response of this agent is heard."""
        if transition.timings is None or transition.timings.first_audio is not None:
            return
        transition.note(first_audio=at)
        self.publish(HandoffMeasured(transition.timings))

    def leave_outputs(self, outputs: Sequence[Item]) -> None:
        """The scope ends without a successor: its calls are answered all the same."""
        if outputs and self.realtime.failure is None:
            self.realtime.add_items(outputs)

    def watch_emptying(self, scope: AgentScope) -> None:
        """Say so if a scope that was left does not become empty."""
        if self._nursery is not None:
            self._nursery.start_soon(self._watch_emptying, scope)

    async def _watch_emptying(self, scope: AgentScope) -> None:
        # NB: shielded, for what does not end is wanted to be known most of all when
        # everything is being cancelled.
        with trio.move_on_after(STALLED, shield=True):
            await scope.emptied.wait()
        if not scope.emptied.is_set() and scope.nursery is not None:
            for task in scope.nursery.child_tasks:
                self.log.warning(
                    "%s of agent %s was cancelled and does not end",
                    task.name,
                    scope.name,
                )
                frames = task.iter_await_frames()
                stack = tuple(
                    f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{line})"
                    for frame, line in frames
                )
                self.publish(ScopeStalled(scope.name, task.name, stack))

    def user_spoke(self) -> None:
        """The user finished a turn: handoffs are counted anew."""
        self._without_user = 0

    def deliver_note(self, opened: OpenCall) -> None:
        """A detached tool has finished under another agent: its result is a note."""
        assert opened.outcome is not None
        most = self.realtime.limits.max_output_bytes
        text = render(opened.outcome, max_bytes=most)
        text = f"Result of {opened.call.name}: {text}"
        note = Message(self.realtime.new_item_id("msg"), "system", (TextContent(text),))
        self.realtime.answer([note], turn=None, reply=True)

    # --- from outside --------------------------------------------------------

    async def handoff(self, target: Agent | Handoff) -> HandoffTimings:
        """Hand over to another agent and wait until the server has agreed.

        A second handoff waits for the first to settle. The old agent's present response
        is let finish (at most five seconds).

        Raises:
            HandoffError: it failed, nobody is running, or it was called from inside the
                agent that is current; the message says what to do.
            ConfigurationError: the agent cannot be prepared; nothing was sent.
        """
        self.realtime.check_open()
        handoff = as_handoff(target)
        if handoff is None:
            msg = f"handoff() needs an agent, not {target!r}"
            raise HandoffError(msg)
        inside = current_scope.get()
        if inside is not None and inside.encloses(trio.lowlevel.current_task()):
            raise remedy(handoff.agent)
        async with self._handing_over:
            transition = await self._hand_over(handoff)
        if transition.error is not None:
            raise transition.error
        assert transition.timings is not None
        return transition.timings

    async def _hand_over(self, handoff: Handoff) -> Transition:
        requested = trio.current_time()
        scope = await self._standing()
        prepared = await prepare(self, handoff)
        while not scope.stands:  # preparing takes the program's own time
            scope = await self._standing()
        transition = Transition(
            prepared, previous=scope.transition, speaks=handoff.reply == "auto"
        )
        if not scope.decide(transition, requested):
            assert scope.error is not None
            raise scope.error
        await transition.settled.wait()
        return transition

    async def _standing(self) -> AgentScope:
        """Wait for a scope that has settled and is not being left, and for silence."""
        while True:
            self._current()
            await self.changed.until(lambda: self.scope is None or self.scope.stands)
            scope = self._current()
            await self._silence_of(scope)
            if scope.stands:
                return scope

    async def _silence_of(self, scope: AgentScope) -> None:
        slot = self.realtime.replying.slot
        with trio.move_on_after(BUDGET):
            await self.changed.until(lambda: not scope.stands or slot.active is None)

    def _current(self) -> AgentScope:
        self.realtime.check_open()
        if self.scope is None or not self._running:
            msg = "no agent is running; start with session.run(agent)"
            raise HandoffError(msg)
        return self.scope

    def handoff_soon(self, target: Agent | Handoff) -> None:
        """Hand over as soon as possible; synchronous, for use inside an agent."""
        handoff = as_handoff(target)
        scope = self._current()
        if handoff is None or scope.nursery is None or scope.frozen:
            msg = "handoff_soon() needs an agent, and an agent that is still current"
            raise HandoffError(msg)
        scope.nursery.start_soon(scope.hand_over, handoff)

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
        return await self.realtime.reply(
            wish.command,
            add_instructions=wish.add_instructions,
            if_busy=if_busy,
            **self._asked_of(),
        )

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
        return self.realtime.stream_reply(
            wish.command,
            add_instructions=wish.add_instructions,
            if_busy=if_busy,
            limits=limits,
            **self._asked_of(),
        )

    def _asked_of(self) -> dict[str, Any]:
        """Say on whose behalf the running task asks for a reply."""
        inside = current_scope.get()
        own = inside if inside is not None and not inside.closed else None
        scope = own or self._current()
        scope.asked = True
        return {
            # From outside it is asked of whoever is wanted: the next agent, once a
            # handoff is decided.
            "config": None if own is None else own.config,
            "within": current_turn.get(),
            "silence": lambda: own is None or not own.handed_over,
        }

    def ask_to_speak(self, scope: AgentScope) -> None:
        """The new agent asked for nothing: it is asked to speak (rule 8)."""
        scope.asked = True
        if not self.realtime.user_has_the_floor:
            command = CreateResponse(self.realtime.replying.new_key())
            self.realtime.replying.ask(
                command=command, config=scope.config, purpose="owed"
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

    def interrupt(self) -> None:
        """Stop what is being said, now; truncated at what was heard."""
        self.realtime.interrupt()

    async def wait_for_playout(self) -> None:
        """Wait until everything that was generated up to now has been played."""
        await self._playout.wait_idle()

    def end(self, *, now: bool = False) -> None:
        """End the conversation; synchronous, so that a tool may call it.

        What was generated is played out first, for a bounded time; `now=True` cuts it.
        """
        self.ending = True
        if now:
            self.realtime.interrupt()
        limit = 0.0 if now else ENDING
        self._end_by = min(self._end_by, trio.current_time() + limit)
        if self.scope is not None:
            self.scope.patience.deadline = self._end_by
        self.changed.pulse()

    # --- the end -------------------------------------------------------------

    async def may_finish(self) -> None:
        """Wait until the conversation is over."""
        await self.changed.until(self._is_over)

    def _is_over(self) -> bool:
        scope, slot = self.scope, self.realtime.replying.slot
        if scope is None or self.realtime.failure is not None:
            return True
        silent = slot.active is None and self._playout.idle
        if self.ending:
            return silent
        lingered = trio.current_time() >= self._input_ended_at + LINGER
        nothing_owed = slot.idle and not self.realtime.replying.owed and scope.quiet
        floor = self.realtime.user_has_the_floor
        return lingered and silent and nothing_owed and not floor

    def _played(self, item_id: str) -> None:
        self.changed.pulse()

    def _refused(self, refused: AudioRefused) -> None:
        """Speech beyond the playout's bound was not taken: said once per item."""
        if refused.item_id != self._last_refused:
            self._last_refused = refused.item_id
            self.publish(refused)

    # --- pumps ---------------------------------------------------------------

    async def _listen(self, source: AudioInput) -> None:
        """Carry the microphone to the session; after its end, a silent line.

        Without the silence a last sentence would never be found to have ended.
        """
        with suppress(SessionClosed):  # it has failed, and its block says why
            with suppress(trio.EndOfChannel):
                while True:
                    self.realtime.push_audio(await source.receive())
            self._input_ended_at = trio.current_time()
            for sent in itertools.count(1):
                self.realtime.push_audio(SILENCE)
                self.changed.pulse()
                await trio.sleep_until(self._input_ended_at + sent * 0.1)

    @asynccontextmanager
    async def _open(
        self, source: AudioInput | None, output: AudioOutput
    ) -> AsyncIterator[AgentSession]:
        close = self.realtime.timing.close
        try:
            async with running_session(self.realtime), self._own_nursery() as nursery:
                nursery.start_soon(self._playout.run, name="playout")
                if source is not None:
                    nursery.start_soon(self._listen, source, name="input")
                try:
                    yield self
                finally:
                    self._run.cancel(reason="session block left")
                    with trio.move_on_after(close, shield=True):
                        await self._run_is_over()
        finally:
            # Also where the session could not be opened: they are owned from the start.
            for device in (source, output):
                with trio.move_on_after(1, shield=True):
                    await _close(device)

    @asynccontextmanager
    async def _own_nursery(self) -> AsyncIterator[trio.Nursery]:
        """Hold the nursery of the session's block; its tasks end with the block."""
        try:
            with single():
                async with trio.open_nursery() as self._nursery:
                    yield self._nursery
                    self._nursery.cancel_scope.cancel(reason="session block left")
        finally:
            self._nursery = None

    async def _run_is_over(self) -> None:
        """Wait for a `run` that was started outside of the block being left."""
        await self.changed.until(lambda: not self._running)


async def _close(device: AudioInput | AudioOutput | None) -> None:
    if device is not None:
        await device.aclose()


@asynccontextmanager
async def open_agent_session(
    model: RealtimeModel,
    *,
    audio: tuple[AudioInput | None, AudioOutput | None] = (None, None),
    userdata: Any = None,
    on_handoff_error: Literal["restore", "raise"] = "restore",
    **settings: Unpack[SessionSettings],
) -> AsyncIterator[AgentSession]:
    """Open a conversation for agents; then `await session.run(agent)`.

    The block begins when the provider's first event was read. The session owns the
    audio input and output and closes them. Leaving the block takes at most the close
    deadline (`Timing.close`), whatever the server does. Further keywords are those of
    `SessionSettings`.

    Args:
        audio: the microphone and the loudspeaker; None for either is silence.
        userdata: the program's own, handed to hooks and tools.
        on_handoff_error: "restore" lets the previous agent go on when a handoff fails,
            "raise" makes `run` raise.

    Raises:
        ConnectRefused: wrong key, unknown model, refused upgrade; not retried.
        ConnectionLost: the provider could not be reached, or was lost for good.
        ServerError: the provider ended the session (quota, account).
        SpendLimitReached: the conversation has cost what it may cost.
        ConversionError: the conversation to begin with is beyond the limits.
    """
    source, output = audio[0], audio[1] or NullOutput()
    session = AgentSession(
        model,
        output,
        userdata=userdata,
        on_handoff_error=on_handoff_error,
        **settings,
    )
    async with session._open(source, output):
        yield session
