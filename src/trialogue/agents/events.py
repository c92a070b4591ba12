"""What an agent session tells its subscribers, beside the session's own notices."""

from __future__ import annotations

from typing import Literal

import attrs

from trialogue.agents.states import AgentState, UserState

__all__ = [
    "AgentEntered",
    "AgentStateChanged",
    "AgentTranscript",
    "ApprovalRequested",
    "ApprovalSettled",
    "DelegationEnded",
    "DelegationStarted",
    "DelegationTimings",
    "GuardrailTripped",
    "HandoffCompleted",
    "HandoffDiscarded",
    "HandoffFailed",
    "HandoffMeasured",
    "HandoffStarted",
    "HandoffTimings",
    "ScopeStalled",
    "ToolFailed",
    "ToolFinished",
    "ToolNoted",
    "ToolSetFailed",
    "ToolStalled",
    "ToolStarted",
    "UserStateChanged",
]


@attrs.frozen
class HandoffTimings:
    """One handoff, measured on Trio's clock (seconds). None: did not happen (yet).

    Attributes:
        requested: the tool returned, or `handoff` was called.
        committed: the decision fell.
        burst_written: the batch was handed to the socket.
        acknowledged: the server confirmed the configuration.
        response_created, first_audio: of the new agent's first response.
        reused: the session was kept; else a fresh connection was taken.
        why_fresh: what made a fresh connection necessary.
        messages, bytes: sent from the commit to the settlement.
        connections: opened for it.
        user_audio_gap: seconds in which no server was given the microphone; what was
            said in them the next one is given first.
    """

    previous: str | None
    next: str
    requested: float
    committed: float
    burst_written: float | None = None
    acknowledged: float | None = None
    response_created: float | None = None
    first_audio: float | None = None
    reused: bool = True
    why_fresh: str | None = None
    messages: int = 0
    bytes: int = 0
    connections: int = 0
    user_audio_gap: float = 0.0


@attrs.frozen
class AgentEntered:
    """An agent is current."""

    agent: str
    previous: str | None = None


@attrs.frozen
class AgentStateChanged:
    """The agent does something else than before; `AgentState` says what there is."""

    old: AgentState
    new: AgentState
    agent: str | None = None


@attrs.frozen
class UserStateChanged:
    """The user does something else than before; `UserState` says what there is."""

    old: UserState
    new: UserState


@attrs.frozen
class AgentTranscript:
    """More of what an agent says."""

    agent: str | None
    item_id: str
    text: str


@attrs.frozen
class ApprovalRequested:
    """A call waits for somebody's word before it is run.

    `session.approve(call_id)` or `session.deny(call_id)` says it, in whatever task.

    Attributes:
        arguments: as the model gave them: the JSON of an object.
        deadline: when it is refused for want of a word (Trio's clock).
    """

    agent: str
    tool: str
    call_id: str
    arguments: str = attrs.field(repr=False)
    deadline: float


@attrs.frozen
class ApprovalSettled:
    """A call does not wait for approval any more.

    Attributes:
        outcome: "approved"; "denied"; "expired", for nobody decided in time;
            "withdrawn", for the user interrupted (a tool that asks for that), the agent
            handed over, or the session ended.
        reason: why it was denied, as the model is told.
    """

    agent: str
    tool: str
    call_id: str
    outcome: Literal["approved", "denied", "expired", "withdrawn"]
    reason: str = attrs.field(default="", repr=False)


@attrs.frozen
class ToolStarted:
    """A tool begins to run."""

    agent: str
    tool: str
    call_id: str
    arguments: str = attrs.field(repr=False)


@attrs.frozen
class ToolFinished:
    """A call is answered, once and for all, whether its tool was run or not.

    Attributes:
        agent: for whom it ran; None if nobody answers for it.
        outcome: "Returned", "Failed" (a `ToolError`), "Crashed", "TimedOut",
            "Interrupted", "UnknownTool", "BadArguments", "Denied" (not approved),
            "Blocked" (a guardrail tripped), "StepLimitReached", "Transferred",
            "Conflict", "HandoffFailed", "HandedOff" (stopped, or never run) or
            "InProgress" (a detached tool that goes on: `ToolNoted` will follow).
        output: what the model is told.
        seconds: how long the tool ran; None if it was not run.
    """

    agent: str | None
    tool: str
    call_id: str
    outcome: str
    output: str = attrs.field(repr=False)
    seconds: float | None = None


@attrs.frozen
class ToolNoted:
    """A detached tool has finished after its agent had left; a note tells the model.

    Attributes:
        agent: the agent that it was called under.
        outcome: as in `ToolFinished`.
        note: what the model is told.
        seconds: how long the tool ran.
    """

    agent: str
    tool: str
    call_id: str
    outcome: str
    note: str = attrs.field(repr=False)
    seconds: float


@attrs.frozen
class ToolFailed:
    """A tool has a fault that its author should know of (T2)."""

    agent: str
    tool: str
    call_id: str
    problem: str
    error: BaseException | None = None


@attrs.frozen
class ToolSetFailed:
    """A tool set that was open has ended by itself, or could not be closed.

    Its tools are still called, and fail or not; for the next agent that lists it, it is
    opened anew.

    Attributes:
        error: what it raised.
    """

    tool_set: str
    error: Exception


@attrs.frozen
class ToolStalled:
    """A tool was stopped and does not end; everything else goes on without it.

    Its call is answered, and what still comes of it is dropped. The task ends with the
    session's block at the latest, which waits for it.

    Attributes:
        stack: where it is, outermost first.
    """

    agent: str
    tool: str
    call_id: str
    stack: tuple[str, ...]


@attrs.frozen
class HandoffStarted:
    """The decision has fallen."""

    previous: str | None
    next: str
    why_fresh: str | None = None


@attrs.frozen
class HandoffCompleted:
    """The server agreed; `timings` are those known by then."""

    timings: HandoffTimings


@attrs.frozen
class HandoffMeasured:
    """The new agent is first heard; `timings` are those known by then."""

    timings: HandoffTimings


@attrs.frozen
class HandoffFailed:
    """It could not be carried out; the previous agent goes on, or `run` raises."""

    previous: str | None
    next: str
    message: str


@attrs.frozen
class HandoffDiscarded:
    """A tool returned an agent after the decision had fallen; it changes nothing."""

    next: str


@attrs.frozen
class DelegationTimings:
    """One delegation, measured on Trio's clock (seconds). None: did not happen.

    Attributes:
        requested: `delegate` was called.
        began: its turn had come, and the agent asked for was current.
        ended: its scope was empty, and the agent that delegated was current again.
        acknowledged: the server confirmed the configuration of the agent asked for.
        completed: the value was given.
    """

    requested: float
    began: float
    ended: float
    acknowledged: float | None = None
    completed: float | None = None


@attrs.frozen
class DelegationStarted:
    """An agent delegates to another one, and waits for its value."""

    agent: str
    to: str


@attrs.frozen
class DelegationEnded:
    """The agent that delegated is current again, or ends as well.

    Attributes:
        agent: who delegated.
        to: who was current at the end: the agent asked for, or who came in its place.
        outcome: "completed" with a value; "failed" with an exception, which the caller
            is given; "cancelled" together with the caller.
    """

    agent: str
    to: str
    outcome: Literal["completed", "failed", "cancelled"]
    timings: DelegationTimings


@attrs.frozen
class GuardrailTripped:
    """A guardrail found what must not be, failed, or took too long.

    Attributes:
        guardrail: its name.
        place: what it checks: "output", "input", "tool_input" or "tool_output".
        reason: what it found, or how it failed.
        agent: who had said it, was spoken to, or had called; None if nobody is current.
        text: what was checked: the message, or the turn, as far as it was known then,
            the arguments of the call, or its output.
        item_id: the message, or the user's turn; None for calls.
        call_id: the call; None for speech.
        response_id: the reply that it belongs to, or for a turn of the user's, that
            answered it; None if there was none by then.
        heard_ms: how much of that reply had been heard; 0 for a written one.
        seconds: how long the check took.
        error: what the check raised, if that is why it tripped.
    """

    guardrail: str
    place: Literal["output", "input", "tool_input", "tool_output"]
    reason: str
    agent: str | None
    text: str = attrs.field(repr=False)
    item_id: str | None
    call_id: str | None
    response_id: str | None
    heard_ms: int | None
    seconds: float
    error: BaseException | None = None


@attrs.frozen
class ScopeStalled:
    """An agent's scope was cancelled and is not empty after a second.

    Attributes:
        task: what does not end.
        stack: where it is, outermost first.
    """

    agent: str
    task: str
    stack: tuple[str, ...]
