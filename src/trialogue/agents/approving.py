"""Calls that wait for somebody's word: asked for, given once, or refused in time."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs
import trio

from trialogue.agents.capturing import alone, capturing
from trialogue.agents.events import ApprovalRequested, ApprovalSettled, ToolFailed
from trialogue.agents.stalling import STALLED
from trialogue.errors import ApprovalError, ConfigurationError, ToolError
from trialogue.tools import structure
from trialogue.tools.outcome import Denied, HandedOff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trialogue.agents.calls import OpenCall
    from trialogue.agents.run_context import RunContext
    from trialogue.agents.session import AgentSession
    from trialogue.agents.tool_settings import ToolSettings
    from trialogue.tools import FunctionTool, ToolOutcome

__all__ = ["ApprovalHandler", "Approving"]

ApprovalHandler: TypeAlias = (
    "Callable[[RunContext[Any], ApprovalRequested], Awaitable[bool]]"
)
"""Decides on a call: True approves it, False does not, nor does a `ToolError`."""

REMEMBERED = 256
"""Settled approvals that a late word is told of by name."""

Verdict = Literal["approved", "denied", "expired", "withdrawn"]


@attrs.define(eq=False)
class Waiting:
    """A call that waits, until it is settled: once, by whoever comes first."""

    request: ApprovalRequested
    opened: OpenCall
    consulting: trio.CancelScope = attrs.field(factory=trio.CancelScope, repr=False)
    settled: trio.Event = attrs.field(factory=trio.Event, repr=False)
    verdict: Verdict | None = None
    reason: str = ""

    def outcome(self) -> ToolOutcome | None:
        """Return how the call has ended by that; None if it is to be run."""
        if self.verdict == "approved":
            return None
        return Denied(self.reason) if self.verdict == "denied" else HandedOff()


class Approving:
    """The approvals of one session, whichever agents ask for them."""

    def __init__(self, session: AgentSession[Any], settings: ToolSettings) -> None:
        self._session = session
        self._handler = settings.approve
        self._timeout = settings.approval_timeout
        self._waiting: list[Waiting] = []
        self._settled: OrderedDict[str, Verdict] = OrderedDict()

    @property
    def requests(self) -> tuple[ApprovalRequested, ...]:
        """What waits, the oldest first."""
        return tuple(waiting.request for waiting in self._waiting)

    @property
    def expired(self) -> Denied:
        """What becomes of a call on which nobody has decided in time."""
        return Denied(f"nobody decided within {self._timeout:g} s")

    # --- the program's word --------------------------------------------------

    def approve(self, call_id: str) -> None:
        """See `AgentSession.approve`."""
        self._settle(self._find(call_id), "approved")

    def deny(self, call_id: str, reason: Any) -> None:
        """See `AgentSession.deny`."""
        if not isinstance(reason, str):
            msg = f"deny(reason={reason!r}): the reason is text, for the model to read"
            raise ConfigurationError(msg)
        self._settle(self._find(call_id), "denied", reason)

    def _find(self, call_id: str) -> Waiting:
        self._session.realtime.check_open()
        for waiting in self._waiting:
            if waiting.request.call_id == call_id:
                return waiting
        verdict = self._settled.get(call_id)
        if verdict is None:
            msg = (
                f"no call {call_id!r} waits for approval; session.approvals has those "
                "that do"
            )
        else:
            msg = f"the approval of call {call_id!r} is settled already: {verdict}"
        raise ApprovalError(msg, call_id=call_id, outcome=verdict)

    def withdraw(self, opened: OpenCall) -> None:
        """The call will not be run, whatever anybody says from now on."""
        for waiting in tuple(self._waiting):
            if waiting.opened is opened:
                self._settle(waiting, "withdrawn")

    def _settle(self, waiting: Waiting, verdict: Verdict, reason: str = "") -> None:
        if waiting.verdict is not None:
            return
        waiting.verdict, waiting.reason = verdict, reason
        self._waiting.remove(waiting)
        waiting.settled.set()
        waiting.consulting.cancel(reason=f"the approval is settled: {verdict}")
        request = waiting.request
        self._settled[request.call_id] = verdict
        if len(self._settled) > REMEMBERED:
            self._settled.popitem(last=False)
        self._session.publish(
            ApprovalSettled(
                request.agent, request.tool, request.call_id, verdict, reason
            )
        )

    # --- the call's wait -----------------------------------------------------

    async def wait(
        self,
        ctx: RunContext[Any],
        agent: str,
        opened: OpenCall,
        tool: FunctionTool[..., Any],
    ) -> ToolOutcome | None:
        """Wait until the call may be run (None), or return how it has ended instead.

        Raises:
            Exception: what the tool's own `needs_approval` raised; it is not to be run.
        """
        with trio.move_on_after(self._timeout) as patience:
            opened.expect_end(patience.deadline + STALLED)
            needed = await self._is_needed(ctx, opened, tool)
            # It may have refused to be cancelled, and the call be settled meanwhile:
            # then nobody is asked any more.
            await trio.lowlevel.checkpoint_if_cancelled()
            if not needed or opened.over:
                return None
            call = opened.call
            request = ApprovalRequested(
                agent, call.name, call.call_id, call.arguments, patience.deadline
            )
            self._session.publish(request)
            return await self._decided(Waiting(request, opened), ctx)
        return self.expired

    async def _is_needed(
        self, ctx: RunContext[Any], opened: OpenCall, tool: FunctionTool[..., Any]
    ) -> bool:
        needs: Any = tool.options.needs_approval
        if isinstance(needs, bool):
            return needs
        # NB: its own copy: what is decided on is what will be run.
        most = self._session.realtime.limits.max_argument_bytes
        needed = needs(ctx, structure(tool, opened.call.arguments, max_bytes=most))
        if inspect.isawaitable(needed):
            needed = await needed
        if not isinstance(needed, bool):
            msg = f"needs_approval returned {needed!r}; expected True or False"
            raise TypeError(msg)
        return needed

    async def _decided(
        self, waiting: Waiting, ctx: RunContext[Any]
    ) -> ToolOutcome | None:
        self._waiting.append(waiting)
        if self._handler is not None:
            # Beside the call, which is refused in time also if the handler blocks.
            name = f"approval of {waiting.request.tool}"
            self._session.nursery.start_soon(self._consult, waiting, ctx, name=name)
        try:
            await waiting.settled.wait()
        finally:
            late = trio.current_time() >= waiting.request.deadline
            self._settle(waiting, "expired" if late else "withdrawn")
        return waiting.outcome()

    async def _consult(self, waiting: Waiting, ctx: RunContext[Any]) -> None:
        assert self._handler is not None
        with (
            capturing(lambda error: self._refused(waiting, error)),
            waiting.consulting,
        ):
            answer: Any = await self._handler(ctx, waiting.request)
            if waiting.verdict is None and not isinstance(answer, bool):
                msg = f"the approval handler returned {answer!r}; expected a bool"
                raise TypeError(msg)
            self._settle(waiting, "approved" if answer else "denied")

    def _refused(self, waiting: Waiting, error: Exception) -> None:
        """The handler raised: to tell the model why not, or because it has a fault."""
        meant = alone(error)
        if isinstance(meant, ToolError):
            self._settle(waiting, "denied", str(meant))
            return
        request = waiting.request
        self._session.log.error(
            "the approval handler failed for %s", request.tool, exc_info=error
        )
        problem = f"the approval handler raised {type(error).__qualname__}"
        self._session.publish(
            ToolFailed(request.agent, request.tool, request.call_id, problem, error)
        )
        self._settle(waiting, "denied", "the approval could not be obtained")
