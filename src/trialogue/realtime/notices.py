"""What a realtime session tells its subscribers (`session.subscribe`)."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import attrs

from trialogue.conversation.items import Item
from trialogue.dialects.events import RateLimit
from trialogue.realtime.broadcast import OnlyByName
from trialogue.realtime.replies import ReplyOutcome

__all__ = [
    "AudioDropped",
    "ConnectionEnded",
    "ConnectionOpened",
    "ErrorNotice",
    "HistoryTrimmed",
    "ItemChanged",
    "MalformedFrame",
    "OpenReason",
    "RateLimitsUpdated",
    "RawEvent",
    "RawServerEvent",
    "ReplayTruncated",
    "ReplyEnded",
    "ReplyStarted",
    "UnknownAnchorNotice",
    "UserIdle",
    "UserStartedSpeaking",
    "UserStoppedSpeaking",
    "UserTranscript",
    "raw_event",
]


OpenReason: TypeAlias = Literal["first", "reconnect", "handoff", "rotation", "restart"]
"""Why a connection took over: none had served; the one before was lost; a handoff needs
a fresh one; the one before nears its end; the program asked for it."""


@attrs.frozen
class ConnectionOpened:
    """A connection is up and begins to serve. Generation 1 is the first.

    Attributes:
        generation: counts the connections that were dialled, spare ones included.
        session_id: the provider's name for its session.
        seconds: from dialling to the provider's first event.
        reason: why it took over.
    """

    generation: int
    session_id: str
    seconds: float
    reason: OpenReason = "first"


@attrs.frozen
class ConnectionEnded:
    """A connection ended. `will_retry` is False for one that no longer served.

    One that was in reserve and never served ends like any other.
    """

    generation: int
    message: str
    code: int | None = None
    will_retry: bool = True


@attrs.frozen
class ItemChanged:
    """An item was added to the record, changed, or removed.

    By the provider, or by what was sent: the program's own edits are not told of, nor
    is what a lost connection took with it.
    """

    change: Literal["added", "updated", "deleted"]
    item_id: str
    item: Item | None = None


@attrs.frozen
class UnknownAnchorNotice:
    """The server named a predecessor nobody knows; the item was appended (S13)."""

    item_id: str
    anchor: str | None


@attrs.frozen
class UserStartedSpeaking:
    """The provider hears the user begin; what is being said may be cut for it (U3).

    `item_id` is what the user's turn will be called, where the provider says so.
    """

    item_id: str | None = None


@attrs.frozen
class UserStoppedSpeaking:
    """The provider hears the user's voice end; the turn is not committed yet."""

    item_id: str | None = None


@attrs.frozen
class UserIdle:
    """Nobody spoke for `ServerVAD.idle_timeout_ms`; the model is made to speak."""

    item_id: str


@attrs.frozen
class UserTranscript:
    """What the user said. Exactly one final transcript per turn (U2)."""

    item_id: str
    text: str
    final: bool


@attrs.frozen
class ReplyStarted:
    """A response began. `agent` is the name of whoever answers for it."""

    response_id: str
    agent: str | None = None


@attrs.frozen
class ReplyEnded:
    """A response ended, by the provider's word: not one lost with its connection."""

    response_id: str
    outcome: ReplyOutcome
    agent: str | None = None


@attrs.frozen
class ErrorNotice:
    """The server reported an error that belongs to nobody who waits (S7)."""

    message: str
    code: str | None = None
    event_id: str | None = None


@attrs.frozen
class MalformedFrame:
    """A frame could not be read and was passed over (C10); never its text."""

    message: str
    detail: str | None = None


@attrs.frozen
class AudioDropped:
    """Microphone audio that nobody could take any more was dropped (C4)."""

    seconds: float
    total_seconds: float


@attrs.frozen
class ReplayTruncated:
    """A fresh connection was not given the whole conversation; see `History`.

    Attributes:
        omitted: how many items were left out; they stay in `chat_ctx`.
        omitted_tokens: how many tokens those are, by estimate.
    """

    omitted: int
    omitted_tokens: int = 0


@attrs.frozen
class HistoryTrimmed:
    """The conversation had grown beyond its bound: its oldest turns leave.

    A server that holds them is asked to delete them; they leave `chat_ctx` as it
    answers, each with an `ItemChanged`.

    Attributes:
        item_ids: what leaves, in order.
        remaining: how many items remain once all of it has left.
    """

    item_ids: tuple[str, ...]
    remaining: int


@attrs.frozen
class RawServerEvent(OnlyByName):
    """Every event of the provider, in its own typed form, before it is acted upon.

    Only subscriptions that name this class are given it; without one it costs nothing.

    Attributes:
        type: the provider's name for its kind.
        event: for OpenAI, an instance of a class of
            `trialogue.dialects.openai.wire.server_events`.
        generation: the connection it came over.
    """

    type: str
    event: Any = attrs.field(repr=False)
    generation: int


def raw_event(event: Any, generation: int) -> RawServerEvent:
    """Return the notice of a provider's event, typed or plain JSON."""
    kind = event.get("type") if isinstance(event, dict) else event.type
    return RawServerEvent(str(kind or ""), event, generation)


@attrs.frozen
class RateLimitsUpdated:
    """What is left of the provider's limits; told now and then, never to be waited for.

    Attributes:
        limits: one each for "requests", "tokens" or what else the provider counts.
    """

    limits: tuple[RateLimit, ...]


@attrs.frozen
class RawEvent:
    """An event of a type this library does not interpret (C9)."""

    type: str
    data: dict[str, Any] = attrs.field(repr=False)
