"""OpenAI's own manner: the machine's events as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from trialogue.dialects.openai.wire import (
    CLIENT_EVENTS,
    ClientEvents,
    UnknownClientEvent,
    WireError,
    check_client_event,
    decode_client_event,
    or_none,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.testing.machine.outputs import Output, Refusal
    from trialogue.testing.script import Turn

__all__ = ["OpenAI", "own", "read"]

B = TypeVar("B", bound="Callable[[Turn], Any]")


def read(text: str, events: ClientEvents = CLIENT_EVENTS) -> Any:
    """Return the event that a frame is, by the classes of a dialect.

    Raises:
        WireError: it is none of them, or a wrong one.
    """
    event = decode_client_event(text, events)
    if isinstance(event, UnknownClientEvent):
        raise check_client_event(event.data, events)[0]
    return event


def own(as_asked: Callable[[Any], Any], event: Any) -> Any:
    """Return what a dialect's event asks of the machine.

    Raises:
        WireError: nothing that is allowed; it names the event.
    """
    try:
        return as_asked(event)
    except WireError as wrong:
        wrong.event_id = or_none(event.event_id)
        raise


class OpenAI:
    """Says everything as the machine does."""

    def read(self, text: str) -> Any:
        """See `Speaking`."""
        return read(text)

    def reworded(self, refusal: Refusal) -> Refusal:
        """See `Speaking`."""
        return refusal

    def brain(self, brain: B) -> B:
        """See `Speaking`."""
        return brain

    def told(self, outputs: list[Output]) -> list[Output]:
        """See `Speaking`."""
        return outputs
