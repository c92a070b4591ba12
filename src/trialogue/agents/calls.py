"""The calls of one response: each gets exactly one outcome; all go back together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

from trialogue.conversation.items import FunctionCall, FunctionCallOutput
from trialogue.tools import FunctionTool, ToolOutcome, render
from trialogue.tools.outcome import (
    Conflict,
    HandedOff,
    HandoffFailed,
    InProgress,
    Interrupted,
    Returned,
    Transferred,
)

if TYPE_CHECKING:
    from trialogue.agents.preparing import Prepared
    from trialogue.realtime.replies import Response, Turn

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
    answered: bool = False
    interrupted: bool = False
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, repr=False)

    @property
    def running(self) -> bool:
        return self.outcome is None

    @property
    def seconds(self) -> float | None:
        """How long the tool ran; None if it was not run."""
        ended = self.settled_at if self.returned_at is None else self.returned_at
        if self.started_at is None or ended is None:
            return None
        return ended - self.started_at

    @property
    def may_hand_off(self) -> bool:
        return self.tool is not None and self.tool.may_hand_off

    def settle(self, outcome: ToolOutcome) -> bool:
        """Fix the outcome; only the first counts. True if this was it."""
        if self.outcome is not None and not isinstance(self.outcome, InProgress):
            return False
        self.outcome = outcome
        self.settled_at = trio.current_time()
        return True

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
        if self.detached:
            self.settle(InProgress())
        elif self.interrupted:
            self.settle(Interrupted())
        else:
            self.settle(HandedOff(started=self.started_at is not None))

    def output(self, item_id: str, *, max_bytes: int) -> FunctionCallOutput:
        """Return the output for the model, as an item of that id."""
        assert self.outcome is not None
        self.answered = True
        text = render(self.outcome, max_bytes=max_bytes)
        return FunctionCallOutput(item_id, self.call.call_id, text)


@attrs.define(eq=False)
class CallGroup:
    """The calls of one response, in its order."""

    response: Response
    turn: Turn
    calls: list[OpenCall] = attrs.field(factory=list)
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
        return any(_wants_reply(call) for call in self.calls)


def _wants_reply(call: OpenCall) -> bool:
    if call.tool is not None and call.tool.options.reply == "none":
        return False
    return not (isinstance(call.outcome, Returned) and not call.outcome.wants_reply)
