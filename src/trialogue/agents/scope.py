"""An agent's scope: its `on_enter`, its tool calls and its replies, in one nursery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from trialogue.agents.calls import CallGroup, OpenCall
from trialogue.agents.events import (
    AgentEntered,
    HandoffDiscarded,
    ToolFailed,
    ToolFinished,
    ToolStarted,
)
from trialogue.agents.handoff import Transition, failure
from trialogue.agents.preparing import as_handoff, prepare
from trialogue.agents.run_context import RunContext, current_scope, current_turn
from trialogue.errors import HandoffError, SessionClosed, ToolError
from trialogue.realtime.unwrapping import single
from trialogue.tools import ArgumentsError, FunctionTool, structure
from trialogue.tools import failure as tool_failure
from trialogue.tools.outcome import (
    BadArguments,
    Crashed,
    Failed,
    HandoffFailed,
    Interrupted,
    Returned,
    TimedOut,
    Transferred,
    UnknownTool,
)

if TYPE_CHECKING:
    from trialogue.agents.agent import Handoff
    from trialogue.agents.session import AgentSession
    from trialogue.conversation.items import FunctionCall, Item
    from trialogue.realtime.configuration import Configuration
    from trialogue.realtime.replies import Response

__all__ = ["AgentScope"]

UNDECIDED = 3.0
"""Seconds for which a decided handoff waits for siblings that may hand off as well."""
FINISHING = 3.0
"""Seconds that tools with `on_handoff="finish"` get."""


class AgentScope:
    """The time in which one agent is current; owns everything that ends with it."""

    def __init__(self, session: AgentSession, transition: Transition) -> None:
        self.session = session
        self.transition = transition
        self.agent = transition.agent
        self.name = transition.name
        self.tools = transition.prepared.tools
        self.nursery: trio.Nursery | None = None
        self.frozen = False
        self.closed = False
        self.asked = False
        self.entering = False
        self.decision: Transition | None = None
        self.handed_over = False
        self.error: HandoffError | None = None
        self.patience = trio.CancelScope()
        self.emptied = trio.Event()
        self.exited = trio.Event()
        self._groups: dict[str, CallGroup] = {}

    def __repr__(self) -> str:
        state = "closed" if self.closed else "frozen" if self.frozen else "live"
        return f"<AgentScope {self.name!r} {state} calls={len(self.open_calls)}>"

    @property
    def config(self) -> Configuration:
        config = self.transition.config
        assert config is not None
        return config

    @property
    def open_calls(self) -> list[OpenCall]:
        """The calls without an output, in order."""
        groups = self._groups.values()
        return [call for group in groups for call in group.calls if not call.answered]

    @property
    def quiet(self) -> bool:
        """Whether nothing of the agent's is under way."""
        return not self.entering and not self.open_calls

    @property
    def stands(self) -> bool:
        """Whether the server has agreed with it and it is not being left."""
        leaving = self.frozen or self.decision is not None or self.error is not None
        settled = self.transition.settled.is_set() and self.transition.error is None
        return settled and not leaving

    def encloses(self, task: trio.lowlevel.Task) -> bool:
        """Whether a task ends with this scope: it cannot wait for that."""
        nursery = task.parent_nursery
        while nursery is not None and nursery is not self.nursery:
            nursery = nursery.parent_task.parent_nursery
        return nursery is not None and not self.closed

    # --- life ----------------------------------------------------------------

    async def run(self) -> Transition | None:
        """Be current until a decision, the session's end, or an error.

        Returns the transition that was decided on, or None if the session ends. When it
        returns or raises, no task of the agent is left, and each of its calls has
        exactly one output.
        """
        try:
            with single():
                async with trio.open_nursery() as self.nursery:
                    try:
                        self._begin()
                        with self.patience:
                            await self.session.may_finish()
                        self.nursery.cancel_scope.cancel(reason="the session ends")
                    finally:
                        # NB: the body ends before the nursery does; whoever starts a
                        # task from the reader looks at this first (core rule 2).
                        self.frozen = True
                        self.session.watch_emptying(self)
        finally:
            self.closed = True
            self.emptied.set()
            self._close()
        if self.error is not None:
            raise self.error
        return self.decision

    def _begin(self) -> None:
        assert self.nursery is not None
        self.session.activate(self)
        self.nursery.start_soon(self._settle, name=f"settle {self.name}")
        previous = self.transition.previous
        before = None if previous is None else previous.name
        self.session.publish(AgentEntered(self.name, before))
        if self.transition.enters:
            self.entering = True
            self.nursery.start_soon(self._enter, name=f"{self.name}.on_enter")

    async def _enter(self) -> None:
        current_scope.set(self)
        ctx = RunContext(self.session, self.agent, None, self)
        following = await self.agent.on_enter(ctx)
        self.entering = False
        target = as_handoff(following)
        if target is not None:
            await self.hand_over(target)
        elif self.transition.speaks and not self.asked:
            self.session.ask_to_speak(self)
        self.session.changed.pulse()

    async def _settle(self) -> None:
        """Wait for the server's agreement; without it this scope is not to be."""
        config, supervisor = self.config, self.session.realtime.supervisor
        with trio.CancelScope(deadline=config.deadline):
            await config.verdict.wait()
        if not config.verdict.is_set():
            late = HandoffError("the server did not agree in time", next=self.name)
            supervisor.give_up(config, late)
        if config.error is not None:
            error = failure(self.transition, config.error)
            self.transition.finish(error)
            raise error
        self.session.handoff_settled(self.transition)
        for group in tuple(self._groups.values()):
            self._move_on(group)

    def _close(self) -> None:
        """Settle each open call, in the very step in which the scope is over."""
        slot = self.session.realtime.replying.slot
        for group in self._groups.values():
            slot.close_turn(group.turn)
        outputs: list[Item] = []
        for call in self.open_calls:
            call.close(None if self.decision is None else self.decision.name)
            outputs.append(self._answer(call))
        if self.decision is not None:
            self.decision.outputs += outputs
        else:
            self.session.leave_outputs(outputs)
        self.session.changed.pulse()

    # --- handing over --------------------------------------------------------

    async def hand_over(self, handoff: Handoff) -> Transition | None:
        """Prepare a handoff and decide on it; None if it came too late.

        The one that made this scope current settles first.
        """
        requested = trio.current_time()
        prepared = await prepare(self.session, handoff)
        await self.transition.settled.wait()
        transition = Transition(
            prepared, previous=self.transition, speaks=handoff.reply == "auto"
        )
        return transition if self.decide(transition, requested) else None

    def decide(self, transition: Transition, requested: float) -> bool:
        """The handoff is decided in this step: from here on the epoch is the next's."""
        if not self.stands:
            self.session.publish(HandoffDiscarded(transition.name))
            return False
        assert self.nursery is not None
        try:
            self.session.commit(self, transition, requested)
        except HandoffError as error:
            self.error = error
            self.frozen = True
            self.nursery.cancel_scope.cancel(reason=str(error))
            return False
        self.decision = transition
        self.handed_over = True
        if any(self._finishes(call) for call in self.open_calls):
            self.nursery.start_soon(self._finish_calls)
        else:
            self._leave()
        return True

    def _leave(self) -> None:
        assert self.nursery is not None
        assert self.decision is not None
        self.frozen = True
        reason = f"handoff: {self.name} -> {self.decision.name}"
        self.nursery.cancel_scope.cancel(reason=reason)

    @staticmethod
    def _finishes(call: OpenCall) -> bool:
        wants = call.tool is not None and call.tool.options.on_handoff == "finish"
        return wants and call.running

    async def _finish_calls(self) -> None:
        with trio.move_on_after(FINISHING):
            await self.session.changed.until(
                lambda: not any(self._finishes(call) for call in self.open_calls)
            )
        self._leave()

    # --- calls ---------------------------------------------------------------

    def dispatch(self, response: Response, call: FunctionCall) -> None:
        """A call is complete: run its tool. Synchronous, from the reader's step."""
        group = self._groups.get(response.id)
        if group is None:
            turn = self.session.realtime.replying.slot.open_turn(response)
            ended = response.ended.is_set()  # a call can come late
            group = CallGroup(response, turn, complete=ended)
            self._groups[response.id] = group
        opened = OpenCall(call, self.tools.get(call.name))
        group.calls.append(opened)
        if self.frozen or self.decision is not None:
            opened.tool = None
            return
        self._start(group, opened)
        self._move_on(group)

    def _start(self, group: CallGroup, opened: OpenCall) -> None:
        call, tool = opened.call, opened.tool
        if tool is None:
            opened.settle(UnknownTool(call.name, tuple(self.tools)))
            return
        limits = self.session.realtime.limits
        try:
            arguments = structure(
                tool, call.arguments, max_bytes=limits.max_argument_bytes
            )
        except ArgumentsError as error:
            opened.settle(BadArguments(str(error)))
            return
        started = ToolStarted(self.name, call.name, call.call_id, call.arguments)
        self.session.publish(started)
        opened.detached = tool.options.on_handoff == "detach"
        nursery = self.session.nursery if opened.detached else self.nursery
        assert nursery is not None
        nursery.start_soon(
            self._run_tool, group, opened, tool, arguments, name=f"tool {call.name}"
        )

    async def _run_tool(
        self,
        group: CallGroup,
        opened: OpenCall,
        tool: FunctionTool[..., Any],
        arguments: dict[str, Any],
    ) -> None:
        current_scope.set(None if opened.detached else self)
        current_turn.set(group.turn)
        ctx = RunContext(self.session, self.agent, opened.call, self)
        with opened.scope:
            try:
                await self._work(opened, tool, ctx, arguments)
            except ToolError as error:
                opened.settle(Failed(str(error)))
            except (HandoffError, SessionClosed):
                raise
            except Exception as error:
                self._crashed(opened, error)
        if opened.scope.cancelled_caught:
            opened.settle(Interrupted())
        # NB: no checkpoint between the tool's end and its outcome: "finished but not
        # answered" does not exist.
        self._finished(group, opened)

    async def _work(
        self,
        opened: OpenCall,
        tool: FunctionTool[..., Any],
        ctx: RunContext,
        arguments: dict[str, Any],
    ) -> None:
        seconds = tool.options.timeout
        limit = float("inf") if seconds is None else seconds
        with trio.move_on_after(limit) as timeout:
            value = await tool.invoke(ctx, arguments)
            opened.returned_at = trio.current_time()
            handoff = as_handoff(value)
            if handoff is None:
                opened.settle(Returned.of(value))
            elif opened.interrupted:
                opened.settle(Interrupted())
            else:
                opened.target = await prepare(self.session, handoff)
                opened.settle(Transferred(opened.target.name))
        if timeout.cancelled_caught and seconds is not None:
            opened.settle(TimedOut(seconds))

    def _crashed(self, opened: OpenCall, error: Exception) -> None:
        call = opened.call
        self.session.log.error("the tool %s failed", call.name, exc_info=error)
        handing_over = opened.returned_at is not None
        if handing_over:
            opened.settle(HandoffFailed("the agent could not be prepared"))
        else:
            opened.settle(Crashed(error))
        problem = tool_failure(Crashed(error)) or ""
        self.session.publish(
            ToolFailed(self.name, call.name, call.call_id, problem, error)
        )

    def _finished(self, group: CallGroup, opened: OpenCall) -> None:
        problem = (
            None
            if opened.outcome is None
            else tool_failure(opened.outcome, max_bytes=self._most)
        )
        if problem is not None and not isinstance(opened.outcome, Crashed):
            call = opened.call
            failed = ToolFailed(self.name, call.name, call.call_id, problem)
            self.session.publish(failed)
        late = self.closed or self.decision is not None
        if opened.target is not None and late:
            self.session.publish(HandoffDiscarded(opened.target.name))
        if self.closed and opened.detached:
            opened.miss()
            self.session.deliver_note(opened)
        else:
            self._move_on(group)
        self.session.changed.pulse()

    def response_done(self, response: Response) -> None:
        """A response of this scope ended: all of its calls are known."""
        group = self._groups.get(response.id)
        if group is not None:
            group.complete = True
            self._move_on(group)

    def _move_on(self, group: CallGroup) -> None:
        """Decide, or answer, as soon as the response and its tools allow it."""
        if self.frozen or self.decision is not None or group.answered:
            return
        if not group.complete:
            return
        if group.targets() and group.may_still_hand_off and not group.waiting:
            # Two targets are seen only if both are waited for (core rule 20).
            group.waiting = True
            assert self.nursery is not None
            self.nursery.start_soon(self._wait_for_siblings, group)
        elif not (group.targets() and group.may_still_hand_off):
            self._decide_or_answer(group)

    async def _wait_for_siblings(self, group: CallGroup) -> None:
        with trio.move_on_after(UNDECIDED):
            await self.session.changed.until(lambda: not group.may_still_hand_off)
        self._decide_or_answer(group)

    def _decide_or_answer(self, group: CallGroup) -> None:
        if self.frozen or self.decision is not None or group.answered:
            return
        standing = group.agree()
        if standing is not None and standing.target is not None:
            if not self.transition.settled.is_set():
                return  # a second handoff waits for the first to settle
            requested = standing.returned_at or trio.current_time()
            transition = Transition(
                standing.target,
                previous=self.transition,
                speaks=standing.target.handoff.reply == "auto",
                group=group,
            )
            self.decide(transition, requested)
        elif not group.running:
            self._answer_group(group)

    def _answer_group(self, group: CallGroup) -> None:
        group.answered = True
        del self._groups[group.response.id]
        outputs: list[Item] = [
            self._answer(call) for call in group.calls if not call.answered
        ]
        reply = group.wants_reply() and not self.session.ending
        self.session.realtime.answer(outputs, turn=group.turn, reply=reply)

    @property
    def _most(self) -> int:
        return self.session.realtime.limits.max_output_bytes

    def _answer(self, call: OpenCall) -> Item:
        item_id = self.session.realtime.new_item_id("out")
        output = call.output(item_id, max_bytes=self._most)
        assert call.outcome is not None
        self.session.publish(
            ToolFinished(
                self.name,
                call.call.name,
                call.call.call_id,
                type(call.outcome).__name__,
                output.output,
            )
        )
        return output

    def user_interrupted(self) -> None:
        """The user speaks: tools that asked for it are cancelled."""
        for call in self.open_calls:
            tool = call.tool
            if tool is None or tool.options.on_interrupt != "cancel":
                continue
            if call.running and call.returned_at is None:
                call.interrupted = True
                call.scope.cancel(reason="the user interrupted")
