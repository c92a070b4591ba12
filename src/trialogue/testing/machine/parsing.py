"""What a connection takes for an event, and what it refuses (§2, §16.11-15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trialogue._codec import loads
from trialogue.dialects.openai.wire import (
    CLIENT_EVENTS,
    UNSET,
    ClientEvents,
    WireError,
    structure_client_event,
)
from trialogue.testing.machine.outputs import too_long

if TYPE_CHECKING:
    from collections.abc import Collection


__all__ = ["CONVERSATION", "TRANSCRIPTION", "parse"]

EVENT_ID_LIMIT: Final = 512

CONVERSATION: Final = tuple(
    kind for kind in CLIENT_EVENTS if kind != "output_audio_buffer.clear"
)
"""The types of events that a conversation takes over a WebSocket (§5)."""

TRANSCRIPTION: Final = tuple(
    kind for kind in CONVERSATION if not kind.startswith("response.")
)
"""Those that a session without responses takes (§12.1)."""


def parse(
    text: str,
    supported: Collection[str],
    events: ClientEvents = CLIENT_EVENTS,
    data: dict[str, Any] | None = None,
) -> Any:
    """Read a client's frame as the real server does.

    Args:
        text: the frame.
        supported: the types that there are.
        events: what each consists of.
        data: the object that it holds, if it was read already.

    Raises:
        WireError: it is no event of a type that is supported, as it should be.
    """
    data = _object(text) if data is None else data
    kind, event_id = data.get("type"), data.get("event_id")
    named = event_id if isinstance(event_id, str) else None
    if isinstance(kind, str) and kind not in supported:
        raise _unsupported(supported, named)
    event: Any = structure_client_event(data, events)
    if event.event_id is not UNSET and len(event.event_id) > EVENT_ID_LIMIT:
        long = too_long("event_id", EVENT_ID_LIMIT, len(event.event_id))
        code = long.code or ""
        raise WireError(code, long.message, param=long.param, event_id=named)
    return event


def _unsupported(supported: Collection[str], event_id: str | None) -> WireError:
    kinds = ", ".join(f"'{kind}'" for kind in supported)
    message = f"Invalid value for 'type': supported values are: {kinds}."
    return WireError("invalid_value", message, param="type", event_id=event_id)


def _object(text: str) -> dict[str, Any]:
    try:
        data = loads(text)
    except ValueError as error:
        raise WireError("invalid_json", f"The frame is {error}.") from None
    if not isinstance(data, dict):
        raise WireError("invalid_event", "The frame is not a JSON object.")
    return data
