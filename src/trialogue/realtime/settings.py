"""What everything that opens a session takes by keyword, besides the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.conversation.context import ChatContext
    from trialogue.realtime.backoff import Backoff
    from trialogue.realtime.connection import Timing
    from trialogue.realtime.history import History
    from trialogue.realtime.limits import Limits
    from trialogue.realtime.spending import SpendLimit
    from trialogue.realtime.wirelog import WireEar

__all__ = ["SessionSettings"]


class SessionSettings(TypedDict, total=False):
    """The keywords of `open_session` and `open_agent_session` alike.

    What is left out has the default of its class, None the same.

    Attributes:
        chat_ctx: the conversation to begin with; by default an empty one.
        timing: the deadlines of connections, and when one is rotated.
        backoff: how often, and how patiently, a connection is tried again.
        history: how much of the conversation is kept, and how much of it a fresh
            connection is told.
        standby: keep a second connection open, so that a fresh one costs no dialling.
        limits: bounds on the sizes of what is sent, received and held.
        spend_limit: what the conversation may cost.
        wire_log: write every frame to the log, redacted (`WireLog`), or to a file that
            can be replayed (`trialogue.testing.record`).
        seed: makes ids and pauses reproducible: the same script sends the same frames.
        wall: the clock of the provider's `expires_at`, in seconds since 1970; by
            default `time.time`.
    """

    chat_ctx: ChatContext | None
    timing: Timing | None
    backoff: Backoff | None
    history: History | None
    standby: bool
    limits: Limits | None
    spend_limit: SpendLimit | None
    wire_log: WireEar | None
    seed: int | None
    wall: Callable[[], float]
