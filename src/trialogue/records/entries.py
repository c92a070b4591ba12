"""What a report is made of: one frozen class for each thing that has its time.

Every moment (`at`, `began`, `ended`, …) is in seconds since the session began to open,
on Trio's clock; None is what did not happen, or not yet. What lasts is in seconds too,
but for `heard_ms` and `duration_ms`, which are the protocol's milliseconds. Texts have
keys struck out and are cut at 2000 characters, ending in " [cut]".
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from trialogue.dialects.events import Usage

__all__ = [
    "AgentRecord",
    "ConnectionRecord",
    "DelegationRecord",
    "End",
    "HandoffRecord",
    "ItemRecord",
    "Level",
    "NoteRecord",
    "ReplyRecord",
    "SessionRecord",
    "SpeechRecord",
    "ToolRecord",
    "TurnRecord",
]

End: TypeAlias = Literal["ended", "input_ended", "left", "cancelled", "failed"]
"""How a session came to its end: `end()` was called; the audio input ended; its block
was left; its block was cancelled; it failed, or its block raised."""

Level: TypeAlias = Literal["info", "warning", "error"]
"""How much a note matters."""


@attrs.frozen(kw_only=True)
class SessionRecord:
    """The session as a whole.

    Attributes:
        id: names the session in the logs, as `tri_…`.
        model: the provider's name of the model of the last connection.
        library: the version of this library.
        began: when the session began to open, in seconds since 1970 (UTC).
        seconds: from then to its end, or to the moment of the report.
        end: how it ended; None while it goes on.
        error: what it failed with, or what its block raised.
    """

    id: str
    model: str
    library: str
    began: float
    seconds: float
    end: End | None = None
    error: str | None = None


@attrs.frozen(kw_only=True)
class AgentRecord:
    """A time in which one agent was current.

    Attributes:
        previous: who was current before.
        delegated_by: the agent that waits for this one's value.
    """

    agent: str
    began: float
    ended: float | None = None
    previous: str | None = None
    delegated_by: str | None = None


@attrs.frozen(kw_only=True)
class ItemRecord:
    """An item of the conversation, as it was last known.

    Attributes:
        at: when it joined the conversation; None if the session began with it, or if
            that is longer ago than is remembered.
        text: the words of a message (of an interrupted one, those that were heard), the
            arguments of a call, the output of a call.
        audio: of spoken messages, whether the words are "transcribed", "pending" or
            "unintelligible".
        agent: who said it, or called.
        heard_ms: how much of it was heard, if it was interrupted.
        pictures: how many pictures it has; they are not part of the report.
        call_id, tool: of a call and its output.
        removed: when it left the conversation: never heard, trimmed, or edited away.
    """

    id: str
    kind: Literal["message", "function_call", "function_call_output", "opaque"]
    at: float | None = None
    role: Literal["system", "user", "assistant"] | None = None
    agent: str | None = None
    text: str = ""
    audio: Literal["transcribed", "pending", "unintelligible"] | None = None
    duration_ms: int | None = None
    status: str = "completed"
    heard_ms: int | None = None
    pictures: int = 0
    call_id: str | None = None
    tool: str | None = None
    removed: float | None = None


@attrs.frozen(kw_only=True)
class TurnRecord:
    """A time in which the user spoke.

    Attributes:
        began, ended: where the provider, or the program, found the turn to begin and to
            end. The silence that turn detection waits for belongs to the turn.
        noticed_end: when the session knew of the end.
        transcribed: when the final transcript came.
        answered: when the answer was first heard.
        answered_by: the agent that answered.
        item_id: what the turn has become.
    """

    began: float
    ended: float | None = None
    noticed_end: float | None = None
    transcribed: float | None = None
    answered: float | None = None
    answered_by: str | None = None
    item_id: str | None = None

    @property
    def reply_seconds(self) -> float | None:
        """From the end of the user's turn to the first sound of the answer."""
        if self.answered is None or self.ended is None:
            return None
        return self.answered - self.ended


@attrs.frozen(kw_only=True)
class SpeechRecord:
    """A message as it was played.

    Attributes:
        began, ended: of what was heard; `began` is None if nothing was.
        interrupted: it was cut, by the user, a handoff or the end of the session.
        heard_ms: how much of its sound was played, if it was cut.
        response_id: the reply it is part of.
    """

    item_id: str
    response_id: str
    agent: str | None = None
    began: float | None = None
    ended: float | None = None
    interrupted: bool = False
    heard_ms: int | None = None


@attrs.frozen(kw_only=True)
class ReplyRecord:
    """A response of the model.

    Attributes:
        began, ended: when it was created, and when it was made (not when it was heard).
        outcome: "completed", "interrupted", "incomplete", "failed", "lost".
        first_audio: seconds from its request to its first audio.
        turn_to_audio: seconds from the end of the user's turn to its first audio, which
            is heard a little later.
        usage: its tokens; None if the provider told none.
    """

    response_id: str
    began: float
    ended: float | None = None
    agent: str | None = None
    outcome: str | None = None
    first_audio: float | None = None
    turn_to_audio: float | None = None
    usage: Usage | None = None


@attrs.frozen(kw_only=True)
class ToolRecord:
    """A call of a tool.

    Attributes:
        began: when the tool began to run, or the call was answered without that.
        ended: when the call was answered; of a detached tool, when it had finished.
        outcome: as in `ToolFinished`.
        seconds: how long the tool itself ran; None if it was not run.
        arguments, output: as the model wrote the one and was told the other; fields
            that are named like secrets are hidden.
        detached: it went on after its agent had left.
        problem: a fault that its author should know of.
    """

    call_id: str
    tool: str
    began: float
    ended: float | None = None
    agent: str | None = None
    outcome: str | None = None
    seconds: float | None = None
    arguments: str = ""
    output: str = ""
    detached: bool = False
    problem: str | None = None


@attrs.frozen(kw_only=True)
class HandoffRecord:
    """A handoff, step by step; the fields are those of `HandoffTimings`.

    Attributes:
        reused: the session was kept; else a fresh connection was taken.
        failed: why it could not be carried out.
    """

    next: str
    committed: float
    previous: str | None = None
    requested: float | None = None
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
    failed: str | None = None


@attrs.frozen(kw_only=True)
class DelegationRecord:
    """An agent let another one give it a value.

    Attributes:
        outcome: "completed", "failed" or "cancelled".
    """

    agent: str
    to: str
    began: float
    ended: float | None = None
    outcome: str | None = None


@attrs.frozen(kw_only=True)
class ConnectionRecord:
    """A connection that served, or one that ended in reserve.

    Attributes:
        generation: counts the connections that were dialled.
        reason: why it took over; None for one that never served.
        opened: when it began to serve; None for one that never did.
        dial_seconds: from dialling to the provider's first event.
        ended: when it ended.
        message, code: what it ended with.
        lost: another one had to be dialled.
    """

    generation: int
    reason: str | None = None
    opened: float | None = None
    dial_seconds: float | None = None
    ended: float | None = None
    message: str | None = None
    code: int | None = None
    lost: bool = False


@attrs.frozen(kw_only=True)
class NoteRecord:
    """Anything else that happened, at one moment.

    Attributes:
        kind: the name of the event, such as "MalformedFrame".
        text: what happened.
        count: how many of a kind in a row this stands for, where that is worth one.
        call_id: the call that it is about.
    """

    at: float
    kind: str
    text: str
    level: Level = "info"
    agent: str | None = None
    call_id: str | None = None
    count: int = 1
