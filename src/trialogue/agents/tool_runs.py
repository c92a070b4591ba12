"""Running one tool call: its arguments, its time, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from trialogue.agents.events import ToolFailed, ToolStarted
from trialogue.agents.preparing import as_handoff, prepare
from trialogue.agents.run_context import (
    RunContext,
    current_call,
    current_scope,
    current_turn,
)
from trialogue.errors import HandoffError, SessionClosed, ToolError
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
    from collections.abc import Callable

    from trialogue.agents.calls import CallGroup, OpenCall
    from trialogue.agents.scope import AgentScope

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

    def start(self, group: CallGroup, opened: OpenCall) -> None:
        """Start a call's tool, or settle at once what cannot be run."""
        call, tool = opened.call, opened.tool
        if tool is None:
            opened.settle(UnknownTool(call.name, tuple(self._scope.tools)))
            return
        limits = self._session.realtime.limits
        try:
            arguments = structure(
                tool, call.arguments, max_bytes=limits.max_argument_bytes
            )
        except ArgumentsError as error:
            opened.settle(BadArguments(str(error)))
            return
        started = ToolStarted(self._scope.name, call.name, call.call_id, call.arguments)
        self._session.publish(started)
        opened.started_at = trio.current_time()
        opened.detached = tool.options.on_handoff == "detach"
        nursery = self._session.nursery if opened.detached else self._scope.nursery
        assert nursery is not None
        nursery.start_soon(
            self._run, group, opened, tool, arguments, name=f"tool {call.name}"
        )

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
        ctx = RunContext(self._session, self._scope.agent, opened.call, self._scope)
        with opened.scope:
            try:
                await self._work(opened, tool, ctx, arguments)
            except ToolError as error:
                opened.settle(Failed(str(error)))
            except HandoffError:
                raise
            except Exception as error:
                if isinstance(error, SessionClosed) and self._session.realtime.over:
                    raise  # this one's; another session's is the tool's own affair
                self._crashed(opened, error)
            except BaseExceptionGroup as errors:
                # A nursery of the tool's was cancelled, and a clean-up in it failed.
                cancelled, failed = errors.split(trio.Cancelled)
                if cancelled is None or not isinstance(failed, ExceptionGroup):
                    raise
                self._crashed(opened, failed)
                raise cancelled from None
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
                opened.target = await prepare(self._session, handoff)
                opened.settle(Transferred(opened.target.name))
        if timeout.cancelled_caught and seconds is not None:
            opened.settle(TimedOut(seconds))

    def _crashed(self, opened: OpenCall, error: Exception) -> None:
        call = opened.call
        self._session.log.error("the tool %s failed", call.name, exc_info=error)
        handing_over = opened.returned_at is not None
        if handing_over:
            opened.settle(HandoffFailed("the agent could not be prepared"))
        else:
            opened.settle(Crashed(error))
        problem = tool_failure(Crashed(error)) or ""
        self._session.publish(
            ToolFailed(self._scope.name, call.name, call.call_id, problem, error)
        )
