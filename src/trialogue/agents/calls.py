"""The calls of one response: each gets exactly one outcome; all go back together."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from trialogue.agents.stalling import STALLED
from trialogue.conversation.items import FunctionCall, FunctionCallOutput
from trialogue.tools import FunctionTool, ToolOutcome, render
from trialogue.tools.outcome import (
    Blocked,
    Conflict,
    HandedOff,
    HandoffFailed,
    InProgress,
    Interrupted,
    Returned,
    Transferred,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialogue.agents.attending import Attendant
    from trialogue.agents.preparing import Prepared
    from trialogue.realtime.replies import Response, Turn
    from trialogue.tools.options import Reply

__all__ = ["CallGroup", "OpenCall"]


@attrs.define(eq=False)
class OpenCall:
    """One call, from its announcement to its output.

    Attributes:
        target: whom the tool wants to hand over to, prepared.
        started_at: when the tool began to run (Trio's clock).
        returned_at: when the tool returned.
        settled_at: when the outcome was known.
        detached: it runs in the session's nursery and outlives its agent.
        put_off: it was answered "in progress"; what comes of it follows as a note.
        noted: it is detached and its agent has left: the result follows as a note.
        given_up: it was stopped and does not end; what comes of it is dropped.
        scope, task: in which the tool runs; cancel it by `stop`.
        timer: ends the tool when its time is over.
        late_at: when it must have ended (Trio's clock), or is left behind; set it by
            `expect_end`.
        attendant: who waits for its end.
        spare: seconds that the session allows, where the tool does not say. They do
            not count while it delegates: that is a conversation.
        error: what ends the whole run.
        held: what it ends as if a guardrail that looks at it does not let it pass.
    """

    call: FunctionCall
    tool: FunctionTool[..., object] | None = None
    outcome: ToolOutcome | None = None
    target: Prepared | None = None
    started_at: float | None = None
    returned_at: float | None = None
    settled_at: float | None = None
    detached: bool = False
    put_off: bool = False
    noted: bool = False
    given_up: bool = False
    answered: bool = False
    interrupted: bool = False
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, repr=False)
    timer: trio.CancelScope = attrs.field(factory=trio.CancelScope, repr=False)
    late_at: float = math.inf
    attendant: Attendant | None = attrs.field(default=None, repr=False)
    task: trio.lowlevel.Task | None = attrs.field(default=None, repr=False)
    seconds_allowed: float = math.inf
    spare: float | None = None
    error: Exception | None = attrs.field(default=None, repr=False)
    held: Blocked | None = None

    @property
    def running(self) -> bool:
        return self.outcome is None

    @property
    def over(self) -> bool:
        """Whether the outcome is final; "in progress" is not."""
        return not (self.outcome is None or isinstance(self.outcome, InProgress))

    @property
    def seconds(self) -> float | None:
        """How long the tool ran; None if it was not run."""
        ended = self.settled_at if self.returned_at is None else self.returned_at
        if self.started_at is None or ended is None:
            return None
        return ended - self.started_at

    @property
    def reply(self) -> Reply:
        """What the tool says about a reply to its result."""
        return "auto" if self.tool is None else self.tool.options.reply

    @property
    def wants_reply(self) -> bool:
        """Whether the output calls for a reply."""
        if self.reply != "auto":
            return self.reply == "required"
        return not (isinstance(self.outcome, Returned) and not self.outcome.wants_reply)

    @property
    def may_hand_off(self) -> bool:
        return self.tool is not None and self.tool.may_hand_off

    def settle(self, outcome: ToolOutcome) -> bool:
        """Fix the outcome; only the first counts. True if this was it."""
        if self.over:
            return False
        self.outcome = outcome
        self.settled_at = trio.current_time()
        return True

    def begin(self, seconds: float | None, spare: float) -> None:
        """The tool begins to run, and may take so long.

        Args:
            seconds: its own limit; None if it names none.
            spare: the session's limit for such a tool.
        """
        self.started_at = trio.current_time()
        self.spare = spare if seconds is None else None
        self.allow(spare if seconds is None else seconds)

    def allow(self, seconds: float) -> None:
        """It may take so long from now on; no more once it is being stopped."""
        if not (self.scope.cancel_called or self.timer.cancel_called):
            self.seconds_allowed = seconds
            self.timer.deadline = trio.current_time() + seconds
            self.expect_end(self.timer.deadline + STALLED)

    def expect_end(self, by: float) -> None:
        """It has to have ended by a time of Trio's clock, or is left behind."""
        self.late_at = by
        if self.attendant is not None:
            self.attendant.expect(by)

    @contextmanager
    def conversing(self) -> Iterator[None]:
        """It delegates: the session's limit begins anew afterwards."""
        spare = self.spare
        if spare is None:
            yield
            return
        self.allow(math.inf)
        try:
            yield
        finally:
            self.allow(spare)

    def stop(self, reason: str) -> None:
        """Cancel the tool, and wait no longer for its end than a moment."""
        self.scope.cancel(reason=reason)
        self.expect_end(min(self.late_at, trio.current_time() + STALLED))

    def miss(self) -> None:
        """The agent that it returned does not take over."""
        if isinstance(self.outcome, Transferred):
            self.outcome = HandoffFailed("it came too late")

    def close(self, taken: str | None) -> None:
        """The scope is over: what is not finished did not happen (H10).

        Args:
            taken: the name of the agent that takes over, if one does.
        """
        if self.target is not None and self.target.name != taken:
            self.miss()
        started = self.started_at is not None
        if self.detached and started:
            self.noted = self.settle(InProgress())
        elif self.interrupted:
            self.settle(Interrupted())
        elif self.held is not None and self.held.what == "result":
            self.settle(self.held)
        else:
            self.settle(HandedOff(started=started))

    def output(self, item_id: str, *, max_bytes: int) -> FunctionCallOutput:
        """Return the output for the model, as an item of that id."""
        assert self.outcome is not None
        self.answered = True
        text = render(self.outcome, max_bytes=max_bytes)
        return FunctionCallOutput(item_id, self.call.call_id, text)


@attrs.define(eq=False)
class CallGroup:
    """The calls of one response, in its order.

    Attributes:
        beyond: how many steps it is beyond the step limit; its calls are not run then.
    """

    response: Response
    turn: Turn
    calls: list[OpenCall] = attrs.field(factory=list)
    beyond: int = 0
    complete: bool = False
    answered: bool = False
    waiting: bool = False

    @property
    def running(self) -> bool:
        """Whether a call is still being worked on, detached ones not counted."""
        return any(call.running for call in self.calls)

    @property
    def may_still_hand_off(self) -> bool:
        return any(call.running and call.may_hand_off for call in self.calls)

    def targets(self) -> list[OpenCall]:
        """The calls that want to hand over and are not answered otherwise."""
        return [
            call
            for call in self.calls
            if call.target is not None and isinstance(call.outcome, Transferred)
        ]

    def agree(self) -> OpenCall | None:
        """Return the call whose target stands, or None.

        The same agent, or another instance of its class under its name, is the same
        target. Different ones are a conflict, which each of these calls is told (H9),
        and so is one that comes when the others have been told.
        """
        targets = self.targets()
        kinds = {
            (type(call.target.agent), call.target.name)
            for call in targets
            if call.target is not None
        }
        conflicts = [c.outcome for c in self.calls if isinstance(c.outcome, Conflict)]
        if len(kinds) <= 1 and not conflicts:
            return targets[0] if targets else None
        told = conflicts[0].targets if conflicts else ()
        late = (call.target.name for call in targets if call.target is not None)
        names = (*told, *late)
        for call in targets:
            call.target = None
            call.outcome = Conflict(names)
        return None

    def wants_reply(self) -> bool:
        """Whether the outputs call for a reply."""
        return any(call.wants_reply for call in self.calls)

    def requires_reply(self) -> bool:
        """Whether one has to come, although the user has been answered meanwhile."""
        return any(call.reply == "required" for call in self.calls)
