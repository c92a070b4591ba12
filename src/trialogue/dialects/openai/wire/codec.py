"""Frames to events and back, for both ends of the connection.

Reading what a server sends is tolerant (unknown keys are dropped, unknown types come as
they are); reading what a client sends is strict, as the real server is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, TypeAlias, cast, get_args

from trialogue._codec import Json, b64decode, b64encode, dumps, loads
from trialogue.dialects.openai.wire._converter import (
    Hook,
    detailed_converter,
    quick_converter,
    strict_converter,
)
from trialogue.dialects.openai.wire.base import UNSET
from trialogue.dialects.openai.wire.client_events import (
    ClientEvent,
    InputAudioBufferAppend,
    KnownClientEvent,
    UnknownClientEvent,
)
from trialogue.dialects.openai.wire.problems import WireError, problems
from trialogue.dialects.openai.wire.server_events import (
    KnownServerEvent,
    ServerEvent,
    UnknownServerEvent,
)
from trialogue.errors import ProtocolError

__all__ = [
    "CLIENT_EVENTS",
    "SERVER_EVENTS",
    "AnyEvent",
    "ClientEvents",
    "check_client_event",
    "decode_client_event",
    "decode_server_event",
    "encode_append",
    "encode_event",
    "structure_client_event",
    "structure_server_event",
    "unstructure",
]

AnyEvent: TypeAlias = ClientEvent | ServerEvent
ClientEvents: TypeAlias = Mapping[str, type[Any]]
"""Classes by the `type` of what they read: a server may word it in its own way."""

CLIENT_EVENTS: Final[dict[str, type[KnownClientEvent]]] = {
    cls.type: cls for cls in get_args(KnownClientEvent)
}
"""The class of every client event, by its `type`."""

SERVER_EVENTS: Final[dict[str, type[KnownServerEvent]]] = {
    cls.type: cls for cls in get_args(KnownServerEvent)
}
"""The class of every server event, by its `type`."""


def decode_server_event(text: str | bytes) -> ServerEvent:
    """Read a frame from a server.

    Raises:
        ProtocolError: it is no JSON object with a `type`, or lacks what its type
            requires. `detail` is the place (`$.item_id`); the text is not quoted.
    """
    return structure_server_event(_object(text))


def structure_server_event(data: dict[str, Any]) -> ServerEvent:
    """Make an event of a server's JSON object; raises as `decode_server_event`."""
    kind = data.get("type")
    if not isinstance(kind, str):
        raise ProtocolError("a server event has no type", detail="$.type")
    cls: Any = SERVER_EVENTS.get(kind)
    if cls is None:
        return UnknownServerEvent(type=kind, data=data)
    try:
        return cast("ServerEvent", _quick_hook(cls)(data, cls))
    except Exception:
        raise _explained(data, cls) from None


def _explained(data: dict[str, Any], cls: type[KnownServerEvent]) -> ProtocolError:
    """Read it again with the converter that knows where it is; for failures only."""
    try:
        detailed_converter().structure(data, cls)
    except Exception as error:
        first = min(problems(error), key=_rank)
        place = f"$.{first.param}" if first.param else "$"
        what = _WORDS.get(first.code or "", "value not allowed")
        return ProtocolError(f"{cls.type}: {what} @ {place}", detail=place)
    return ProtocolError(f"{cls.type}: cannot be read", detail="$")


_WORDS: Final = {
    "missing_required_parameter": "required field missing",
    "invalid_type": "value of the wrong type",
}


@cache
def _quick_hook(cls: type[KnownServerEvent]) -> Hook:
    return quick_converter().get_structure_hook(cls)


def decode_client_event(
    text: str | bytes, events: ClientEvents = CLIENT_EVENTS
) -> ClientEvent:
    """Read a frame from a client, as strictly as the real server.

    Args:
        text: the frame.
        events: the class of each event that the server knows, if not the usual ones.

    Raises:
        WireError: with the code, message and path that the real server reports, and the
            client event's id. Where several things are wrong, the first of
            `check_client_event`.
    """
    return structure_client_event(_object(text), events)


def structure_client_event(
    data: dict[str, Any], events: ClientEvents = CLIENT_EVENTS
) -> ClientEvent:
    """Make an event of a client's JSON object; raises as `decode_client_event`.

    An unknown type is `UnknownClientEvent`: a server refuses it as `invalid_value`.
    """
    cls = _client_class(data, events)
    if cls is None:
        return UnknownClientEvent(type=data["type"], data=data)
    if cls is InputAudioBufferAppend:
        append = _structure_append(data)
        if append is not None:
            return append
    try:
        return cast("ClientEvent", strict_converter().structure(data, cls))
    except Exception as error:
        raise _wire_errors(error, data)[0] from None


def _structure_append(data: dict[str, Any]) -> InputAudioBufferAppend | None:
    """Read the frame that makes up most of the traffic; None if it is out of order."""
    audio = data.get("audio")
    if len(data) != 2 or not isinstance(audio, str):
        return None
    try:
        return InputAudioBufferAppend(audio=b64decode(audio))
    except ValueError:
        return None


def check_client_event(
    data: dict[str, Any], events: ClientEvents = CLIENT_EVENTS
) -> list[WireError]:
    """Return everything that is wrong with a client's JSON object.

    Unknown keys come first, then missing ones, then wrong types and values. An unknown
    event type is one `invalid_value` with param `type`.
    """
    try:
        cls = _client_class(data, events)
        if cls is None:
            return [_unsupported(data, events)]
        strict_converter().structure(data, cls)
    except WireError as error:
        return [error]
    except Exception as error:
        return _wire_errors(error, data)
    return []


def _client_class(data: dict[str, Any], events: ClientEvents) -> type[Any] | None:
    kind = data.get("type")
    if kind is None:
        message = "The event has no type."
        raise WireError("invalid_event", message, param="type", event_id=_id_of(data))
    if not isinstance(kind, str):
        message = "Invalid type for 'type': expected a string."
        raise WireError("invalid_type", message, param="type", event_id=_id_of(data))
    return events.get(kind)


def _unsupported(data: dict[str, Any], events: ClientEvents) -> WireError:
    supported = ", ".join(f"'{kind}'" for kind in events)
    message = f"Invalid value for 'type': supported values are: {supported}."
    return WireError("invalid_value", message, param="type", event_id=_id_of(data))


_ORDER: Final = ("unknown_parameter", "missing_required_parameter")


def _rank(error: WireError) -> int:
    return _ORDER.index(error.code) if error.code in _ORDER else len(_ORDER)


def _wire_errors(error: Exception, data: dict[str, Any]) -> list[WireError]:
    found = sorted(problems(error), key=_rank)
    for problem in found:
        problem.event_id = _id_of(data)
    return found


def _id_of(data: dict[str, Any]) -> str | None:
    event_id = data.get("event_id")
    return event_id if isinstance(event_id, str) else None


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        data = loads(text)
    except ValueError:
        raise WireError("invalid_json", "The frame is not valid JSON.") from None
    if not isinstance(data, dict):
        raise WireError("invalid_event", "The frame is not a JSON object.")
    return data


def encode_event(event: AnyEvent) -> str:
    """Write an event as a frame. Absent fields are left out, None is null.

    Raises:
        ValueError: a value in it has no JSON form.
    """
    if isinstance(event, InputAudioBufferAppend):
        return _encode_append(event)
    return dumps(unstructure(event))


def unstructure(value: AnyEvent | Json) -> Json:
    """Return the JSON value of an event, or of any other wire class."""
    if isinstance(value, (UnknownServerEvent, UnknownClientEvent)):
        return value.data
    cls: Any = type(value)
    return _writing_hook(cls)(value)


@cache
def _writing_hook(cls: type[Any]) -> Callable[[Any], Json]:
    return quick_converter().get_unstructure_hook(cls)


def _encode_append(event: InputAudioBufferAppend) -> str:
    if event.event_id is UNSET:
        return encode_append(event.audio)
    head = encode_append(event.audio).removesuffix("}")
    return f'{head},"event_id":{dumps(event.event_id)}}}'


def encode_append(audio: bytes) -> str:
    """Write the frame that makes up most of the traffic; base64 needs no escaping."""
    return f'{{"type":"input_audio_buffer.append","audio":"{b64encode(audio)}"}}'
