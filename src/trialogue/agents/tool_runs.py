"""Running one tool call: its arguments, its time, and what came of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from trialogue.agents.attending import Attendant
from trialogue.agents.capturing import alone, capturing
from trialogue.agents.events import ToolFailed, ToolStalled, ToolStarted
from trialogue.agents.guarded_calls import GuardedCall, guarded_before, unchecked
from trialogue.agents.preparing import as_handoff, prepare
from trialogue.agents.run_context import (
    RunContext,
    current_call,
    current_scope,
    current_turn,
)
from trialogue.agents.stalling import stack_of
from trialogue.errors import HandoffError, HandoffLoop, SessionClosed, ToolError
from trialogue.tools import ArgumentsError, FunctionTool, structure
from trialogue.tools import failure as tool_failure
from trialogue.tools.outcome import (
    BadArguments,
    Crashed,
    Failed,
    HandedOff,
    HandoffFailed,
    Interrupted,
    Returned,
    StepLimitReached,
    TimedOut,
    Transferred,
    UnknownTool,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.agents.calls import CallGroup, OpenCall
    from trialogue.agents.scope import AgentScope
    from trialogue.tools import ToolOutcome

__all__ = ["ToolRuns"]


class ToolRuns:
    """Runs the tools of one agent; each run settles its call's outcome.

    `finished` is told in the very step in which a run is over.
    """

    def __init__(
        self, scope: AgentScope, finished: Callable[[CallGroup, OpenCall], None]
    ) -> None:
        self._scope = scope
        self._session = scope.session
        self._finished = finished
        self._own = Attendant(scope, self._give_up)
        self._detached = Attendant(scope, self._give_up)

    @property
    def attending(self) -> trio.lowlevel.Task | None:
        """The task of the agent's scope that waits for the tools, if any runs."""
        return self._own.task

    def start(self, group: CallGroup, opened: OpenCall) -> None:
        """Start a call's tool, or settle at once what cannot be run."""
        call, tool = opened.call, opened.tool
        if tool is None:
            opened.settle(UnknownTool(call.name, tuple(self._scope.tools)))
            return
        if group.beyond:
            most = self._session.step_limit.most
            assert most is not None
            opened.settle(StepLimitReached(most))
            return
        limits = self._session.realtime.limits
        try:
            arguments = structure(
                tool, call.arguments, max_bytes=limits.max_argument_bytes
            )
        except ArgumentsError as error:
            opened.settle(BadArguments(str(error)))
            return
        if not self._session.block.open:
            return  # the session is being left: the scope settles what is open
        opened.detached = tool.options.on_handoff == "detach"
        waits = guarded_before(self._scope, opened)
        if tool.options.needs_approval is False and not waits:
            self._begin(opened, tool)
        nursery = self._session.nursery
        nursery.start_soon(
            self._run, group, opened, tool, arguments, name=f"tool {call.name}"
        )
        attendant = self._own
        if opened.detached:
            attendant = self._detached
        else:
            assert self._scope.nursery is not None
            nursery = self._scope.nursery
        attendant.attend(nursery, group, opened)

    def _begin(self, opened: OpenCall, tool: FunctionTool[..., Any]) -> None:
        call = opened.call
        started = ToolStarted(self._scope.name, call.name, call.call_id, call.arguments)
        self._session.publish(started)
        spare = math.inf if opened.detached else self._session.tool_settings.limit
        opened.begin(tool.options.timeout, spare)

    def _give_up(self, group: CallGroup, opened: OpenCall, settles: bool) -> None:
        """It was stopped and does not end: it is named, and left behind."""
        call, task = opened.call, opened.task
        stack = () if task is None else stack_of(task)
        opened.given_up = True
        self._session.publish(
            ToolStalled(self._scope.name, call.name, call.call_id, stack)
        )
        if settles:
            opened.settle(self._given_up(opened))
            self._finished(group, opened)

    def _given_up(self, opened: OpenCall) -> ToolOutcome:
        if opened.interrupted:
            return Interrupted()
        if opened.held is not None:
            return opened.held
        if opened.started_at is None:
            return self._session.approving.expired
        return TimedOut(opened.seconds_allowed)

    async def _run(
        self,
        group: CallGroup,
        opened: OpenCall,
        tool: FunctionTool[..., Any],
        arguments: dict[str, Any],
    ) -> None:
        current_scope.set(None if opened.detached else self._scope)
        current_turn.set(group.turn)
        current_call.set(opened)
        opened.task = trio.lowlevel.current_task()
        ctx = RunContext(self._session, self._scope.agent, opened.call, self._scope)
        try:
            with capturing(lambda error: self._raised(opened, error)), opened.scope:
                await self._work(opened, tool, ctx, arguments)
            if opened.interrupted and opened.scope.cancelled_caught:
                opened.settle(Interrupted())
            # NB: no checkpoint between the tool's end and its outcome: "finished but
            # not answered" does not exist.
            if opened.over and not opened.given_up:
                self._finished(group, opened)
        finally:
            opened.task = None
            assert opened.attendant is not None
            opened.attendant.ended(opened)

    async def _work(
        self,
        opened: OpenCall,
        tool: FunctionTool[..., Any],
        ctx: RunContext,
        arguments: dict[str, Any],
    ) -> None:
        guarded = GuardedCall(self._scope, opened, ctx)
        if opened.started_at is None:
            if not await guarded.may_run():
                return
            approving, name = self._session.approving, self._scope.name
            refusal = await approving.wait(ctx, name, opened, tool)
            if opened.over:
                return  # it was given up meanwhile
            if refusal is None and self._scope.leaving:
                refusal = HandedOff()  # after the commit nobody runs it (T11)
            if refusal is not None:
                opened.settle(refusal)
                return
            self._begin(opened, tool)
        found = await self._result(opened, tool, ctx, arguments)
        if opened.timer.cancelled_caught:
            opened.settle(TimedOut(opened.seconds_allowed))
        elif found is not None and not opened.over:
            await guarded.settle(found)

    async def _result(
        self,
        opened: OpenCall,
        tool: FunctionTool[..., Any],
        ctx: RunContext,
        arguments: dict[str, Any],
    ) -> Returned | Failed | None:
        """Run the tool; return what it has for the model, if that is no handoff."""
        with opened.timer:
            try:
                value = await tool.invoke(ctx, arguments)
            except Exception as error:
                meant = alone(error)
                if not isinstance(meant, ToolError):
                    raise
                opened.returned_at = trio.current_time()
                return Failed(str(meant))
            opened.returned_at = trio.current_time()
            if opened.over:
                return None  # it was given up meanwhile
            handoff = as_handoff(value)
            if handoff is None:
                return Returned.of(value)
            if opened.interrupted:
                opened.settle(Interrupted())
            else:
                opened.target = await prepare(self._session, handoff)
                opened.settle(Transferred(opened.target.name))
        return None

    def _raised(self, opened: OpenCall, error: Exception) -> None:
        meant = alone(error)
        if isinstance(meant, ToolError):
            # Not out of the tool's usual end: nothing can be waited for here.
            opened.settle(unchecked(self._scope, opened, Failed(str(meant))))
        elif isinstance(meant, HandoffLoop):
            opened.error = error
        elif isinstance(meant, SessionClosed) and self._session.realtime.over:
            pass  # everything ends, and the call with it
        else:
            self._crashed(opened, error)

    def _crashed(self, opened: OpenCall, error: Exception) -> None:
        call, meant = opened.call, alone(error)
        self._session.log.error("the tool %s failed", call.name, exc_info=error)
        if opened.returned_at is not None:
            opened.settle(HandoffFailed("the agent could not be prepared"))
        elif isinstance(meant, HandoffError):
            # A delegation, say: whoever asked for it is current again.
            opened.settle(HandoffFailed(f"{meant.next or 'it'} could not take over"))
        else:
            opened.settle(Crashed(error))
        problem = tool_failure(Crashed(error)) or ""
        self._session.publish(
            ToolFailed(self._scope.name, call.name, call.call_id, problem, error)
        )
