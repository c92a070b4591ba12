"""The wire events of OpenAI's Realtime protocol, and their text form.

Values only: no state, no I/O. A client and a local server share them.
"""

from trialogue.dialects.openai.wire.base import UNSET, Raw, Unset, or_none
from trialogue.dialects.openai.wire.client_events import (
    ClientEvent,
    UnknownClientEvent,
)
from trialogue.dialects.openai.wire.codec import (
    CLIENT_EVENTS,
    SERVER_EVENTS,
    ClientEvents,
    check_client_event,
    decode_client_event,
    decode_server_event,
    encode_event,
    structure_client_event,
    structure_server_event,
    unstructure,
)
from trialogue.dialects.openai.wire.problems import WireError
from trialogue.dialects.openai.wire.server_events import (
    ServerEvent,
    UnknownServerEvent,
)

__all__ = [
    "CLIENT_EVENTS",
    "SERVER_EVENTS",
    "UNSET",
    "ClientEvent",
    "ClientEvents",
    "Raw",
    "ServerEvent",
    "UnknownClientEvent",
    "UnknownServerEvent",
    "Unset",
    "WireError",
    "check_client_event",
    "decode_client_event",
    "decode_server_event",
    "encode_event",
    "or_none",
    "structure_client_event",
    "structure_server_event",
    "unstructure",
]
